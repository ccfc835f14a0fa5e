// What stands around one terminal, inside its pane: head, banner, notices, the panel that says why it ended.

import { OFFERS } from "./ends.js";
import { describeLatency, shortLatency } from "./latency.js";

const NOTICE_MS = 8_000;

let panes = 0;

export class PaneFrame {
  #pane;
  #notices;
  #panel;
  #back = OFFERS.back;

  /** `pane` is the element, a clone of the template; `place` is {host, login}. */
  constructor(pane, { host, login }) {
    this.#pane = pane;
    this.#notices = pane.querySelector(".notices");
    this.#panel = pane.querySelector(".panel");
    const name = login === "" ? host : `${host} as ${login}`;
    pane.ariaLabel = name;
    pane.querySelector(".screen").ariaLabel = `Terminal on ${name}. Ctrl+Shift+F6 leaves it for the bar.`;
    pane.querySelector(".head .host").textContent = host;
    pane.querySelector(".head .login").textContent = login;
    this.#labelPanel();
    // The Enter that ended the shell must not, while it is still held, open the next one.
    this.#panel.addEventListener("keydown", (event) => {
      if (event.repeat) event.preventDefault();
    });
  }

  setState(state) {
    this.#pane.dataset.state = state;
    if (state !== "ended") this.#panel.hidden = true;
  }

  /** `latency` as of the socket, or null. */
  showLatency(latency) {
    const shown = this.#pane.querySelector(".head .latency");
    shown.textContent = shortLatency(latency);
    shown.title = latency === null ? "" : describeLatency(latency);
  }

  /** A passing message; the same text is not stacked. */
  note(text) {
    const same = Array.from(this.#notices.children).find((notice) => notice.textContent === text);
    same?.remove();
    const notice = document.createElement("p");
    notice.textContent = text;
    this.#notices.append(notice);
    setTimeout(() => notice.remove(), NOTICE_MS);
  }

  /** Why the terminal ended, {title, text, detail, offers}. */
  showPanel({ title, text, detail, offers }) {
    this.#panel.querySelector(".title").textContent = title;
    this.#panel.querySelector(".text").textContent = text;
    const detailLine = this.#panel.querySelector(".detail");
    detailLine.textContent = detail ?? "";
    detailLine.hidden = !detail;
    this.#panel.querySelector(".wait").hidden = true;
    this.#setOffers(offers);
    this.#panel.hidden = false;
  }

  /** What became of waiting for the host, {text, offers}, below why the terminal ended. */
  showWait({ text, offers }) {
    const line = this.#panel.querySelector(".wait");
    if (!line.hidden && line.textContent === text) return;
    line.textContent = text;
    line.hidden = false;
    const hadFocus = this.#panel.contains(document.activeElement);
    this.#setOffers(offers);
    if (hadFocus) this.focusPanel();
  }

  nameBack(text) {
    this.#back = text;
    const button = this.#panel.querySelector("[data-action=back]");
    if (button !== null) button.textContent = text;
  }

  /** Gives the focus to the first offer of the panel; false where no panel is shown. */
  focusPanel() {
    const offer = this.#panel.querySelector(".offers button");
    if (this.#panel.hidden || offer === null) return false;
    offer.focus();
    return true;
  }

  #setOffers(offers) {
    this.#panel.querySelector(".offers").replaceChildren(...offers.map(offerButton));
    this.nameBack(this.#back);
  }

  /** Names of elements take ids, which a template cannot have. */
  #labelPanel() {
    panes += 1;
    const named = (part) => {
      const element = this.#panel.querySelector(`.${part}`);
      element.id = `pane-${panes}-${part}`;
      return element.id;
    };
    this.#panel.setAttribute("aria-labelledby", named("title"));
    this.#panel.setAttribute("aria-describedby", `${named("text")} ${named("detail")}`);
  }
}

function offerButton(offer) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.action = offer;
  button.textContent = OFFERS[offer];
  return button;
}

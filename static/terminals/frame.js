// What stands around the terminal: bar, banner, notices, the panel that says why it ended, the question before a link.

import { OFFERS } from "./protocol.js";

const NOTICE_MS = 8_000;

const STATES = {
  connecting: "Connecting",
  live: "Connected",
  reconnecting: "Reconnecting",
  ended: "Ended",
};

export class Frame {
  #body = document.body;
  #state = document.getElementById("state");
  #latency = document.getElementById("latency");
  #banner = document.getElementById("banner");
  #bannerText = document.getElementById("banner-text");
  #notices = document.getElementById("notices");
  #panel = document.getElementById("panel");
  #link = document.getElementById("link");
  #host;
  #onAction;

  /** `onAction(name)` hears of buttons: those of the bar, "retryNow", and the offers of the panel. */
  constructor(host, onAction) {
    this.#host = host;
    this.#onAction = onAction;
    document.addEventListener("click", (event) => {
      const action = event.target.closest("[data-action]")?.dataset.action;
      if (action) this.#onAction(action);
    });
    // The Enter that ended the shell must not, while it is still held, open the next one.
    this.#panel.addEventListener("keydown", (event) => {
      if (event.repeat) event.preventDefault();
    });
    const fullScreen = document.querySelector("[data-action=fullscreen]");
    fullScreen.hidden = !document.fullscreenEnabled;
  }

  setState(state) {
    this.#body.dataset.state = state;
    this.#state.textContent = STATES[state];
    this.#banner.hidden = state !== "reconnecting";
    if (state !== "live") this.showLatency(null);
    if (state !== "ended") this.#panel.hidden = true;
  }

  setBanner(text) {
    this.#bannerText.textContent = text;
  }

  setTitle(programTitle) {
    document.title = programTitle === "" ? this.#host : `${this.#host} · ${programTitle}`;
  }

  /** `latency` is {roundTripMs, tunnelMs} or null. */
  showLatency(latency) {
    if (latency === null) {
      this.#latency.textContent = "";
      return;
    }
    const roundTrip = Math.max(1, Math.round(latency.roundTripMs));
    this.#latency.textContent = `${roundTrip} ms`;
    const tunnel = latency.tunnelMs === null ? "" : `, broker to host and back ${Math.round(latency.tunnelMs)} ms`;
    this.#latency.title = `Browser to broker and back ${roundTrip} ms${tunnel}`;
  }

  setPressed(action, isPressed) {
    document.querySelector(`[data-action=${action}]`).setAttribute("aria-pressed", String(isPressed));
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

  /** Why the terminal ended, {title, text, detail, offers}; the first offer has the focus. */
  showPanel({ title, text, detail, offers }) {
    document.getElementById("panel-title").textContent = title;
    document.getElementById("panel-text").textContent = text;
    const detailLine = document.getElementById("panel-detail");
    detailLine.textContent = detail ?? "";
    detailLine.hidden = !detail;
    const buttons = offers.map((offer) => offerButton(offer));
    document.getElementById("panel-offers").replaceChildren(...buttons);
    this.#panel.hidden = false;
    buttons[0].focus();
  }

  /** Asks before a link of a program is opened; resolves to whether the person agreed. */
  confirmLink(url) {
    document.getElementById("link-host").textContent = url.host;
    document.getElementById("link-url").textContent = url.href;
    this.#link.returnValue = "";
    this.#link.showModal();
    return new Promise((resolve) => {
      this.#link.addEventListener("close", () => resolve(this.#link.returnValue === "open"), { once: true });
    });
  }

  toggleFullScreen() {
    if (document.fullscreenElement) {
      document.exitFullscreen();
      return;
    }
    document.documentElement.requestFullscreen().then(
      // Where the browser can, keys that would close or open tabs go to the shell in full screen.
      () => navigator.keyboard?.lock?.(["KeyW", "KeyT", "KeyN"]).catch(() => {}),
      () => this.note("The browser did not let this page use the full screen."),
    );
  }

  focusBar() {
    document.querySelector("#bar [data-action]").focus();
  }
}

function offerButton(offer) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.action = offer;
  button.textContent = OFFERS[offer];
  return button;
}

// Typing into several panes of one tab at once. What one pane is given by its person goes to the others as well; what
// emulators say by themselves never does.

import { askToBroadcast, hostsOf } from "./dialogs.js";
import { isMouseReport } from "./typed.js";

export class Broadcast {
  #tab = null;
  #strip = document.getElementById("broadcast");
  #button = document.querySelector("#bar [data-action=broadcast]");

  /** `onStopped()` hears that a person stopped it with the button. */
  constructor(onStopped) {
    this.#strip.querySelector("button").addEventListener("click", () => {
      this.stop();
      onStopped();
    });
  }

  /** Turns it on for the tab, after a warning, or off. Resolves to a sentence that says why not, or "". */
  async toggle(tab) {
    if (this.#tab !== null) {
      this.stop();
      return "";
    }
    const live = tab.panes.filter(isLive);
    const leftOut = tab.panes.filter((pane) => !isLive(pane));
    if (live.length < 2) return "Fewer than two connected terminals are in this tab. Split it, then you can type into several.";
    if (!(await askToBroadcast(live, leftOut))) return "";
    for (const pane of tab.panes) pane.receives = live.includes(pane);
    this.#tab = tab;
    tab.element.dataset.broadcast = "";
    return "";
  }

  stop() {
    if (this.#tab === null) return;
    delete this.#tab.element.dataset.broadcast;
    for (const pane of this.#tab.panes) delete pane.element.dataset.receives;
    this.#tab = null;
  }

  /** Those that must be given what was typed into `pane`. */
  others(pane) {
    const group = this.#group;
    return group.includes(pane) ? group.filter((other) => other !== pane) : [];
  }

  typed(pane, bytes) {
    const others = this.others(pane);
    if (others.length === 0 || isMouseReport(bytes)) return;
    for (const other of others) other.receive(bytes);
  }

  pasted(pane, text) {
    for (const other of this.others(pane)) other.insert(text);
  }

  /** Shows how things are, and ends it where one pane is left. */
  refresh(shown) {
    if (this.#tab !== null && this.#tab.panes.length < 2) this.stop();
    const isOn = this.#tab !== null;
    const group = this.#group;
    for (const pane of this.#tab?.panes ?? []) pane.element.toggleAttribute("data-receives", group.includes(pane));
    this.#button.ariaPressed = String(isOn);
    this.#strip.hidden = !isOn || this.#tab !== shown;
    if (!this.#strip.hidden) this.#say(this.#describe(shown, group));
  }

  get #group() {
    return this.#tab === null ? [] : this.#tab.panes.filter((pane) => pane.receives && isLive(pane));
  }

  #describe({ active, panes }, group) {
    if (!isLive(active)) return `${active.host} ${active.state === "live" ? "has another driver" : "is not connected"}. What you type here goes to no other terminal.`;
    const lost = panes.filter((pane) => pane.receives && !isLive(pane));
    const leftOut = lost.length === 0 ? "" : ` Left out, since not connected: ${hostsOf(lost)}.`;
    if (!group.includes(active)) return `What you type here goes to ${active.host} alone.${leftOut}`;
    const count = group.length === 1 ? "1 terminal" : `${group.length} terminals`;
    return `What you type goes to ${count}: ${hostsOf(group)}.${leftOut}`;
  }

  #say(text) {
    const words = this.#strip.querySelector(".words");
    if (words.textContent !== text) words.textContent = text;
  }
}

function isLive(pane) {
  return pane.isDriving;
}

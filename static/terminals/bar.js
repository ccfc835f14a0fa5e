// The bar of the page: state and latency of the active pane, and the tools.

import { keysOf } from "./keys.js";
import { describeLatency, shortLatency } from "./latency.js";

const STATES = {
  connecting: "Connecting",
  live: "Connected",
  reconnecting: "Reconnecting",
  ended: "Ended",
};

export class Bar {
  #bar = document.getElementById("bar");
  #place = document.getElementById("place");
  #state = document.getElementById("state");
  #latency = document.getElementById("latency");

  /**
   * `onAction(name)` hears of its buttons, `onLeft()` that the keyboard should go back to the terminal: before an action as
   * well. A dialog gives the keyboard back to whom it took it from as it closes, and only later says so: that be the
   * terminal, so that no key is lost which follows Esc at once.
   */
  constructor(onAction, onLeft) {
    this.#bar.addEventListener("click", (event) => {
      const action = event.target.closest("[data-action]")?.dataset.action;
      if (!action) return;
      onLeft();
      onAction(action);
    });
    this.#bar.addEventListener("keydown", (event) => {
      if (event.key === "Escape") onLeft();
    });
    this.#bar.querySelector("[data-action=fullscreen]").hidden = !document.fullscreenEnabled;
    nameKeys(this.#bar);
    nameKeys(document.getElementById("pane").content);
  }

  /** Shows the active pane. `hasRung`: a bell has not been noticed yet. */
  show(pane, { hasRung }) {
    const title = pane.title === "" ? pane.host : `${pane.host} · ${pane.title}`;
    document.body.dataset.state = pane.state;
    document.title = hasRung ? `● ${title}` : title;
    this.#place.textContent = pane.login === "" ? pane.host : `${pane.login} on ${pane.host}`;
    this.#place.href = `/hosts/${encodeURIComponent(pane.host)}/`;
    if (this.#state.textContent !== STATES[pane.state]) this.#state.textContent = STATES[pane.state];
    this.#latency.textContent = shortLatency(pane.latency);
    this.#latency.title = pane.latency === null ? "" : describeLatency(pane.latency);
  }

  focus() {
    this.#bar.querySelector("[role=tab][aria-selected=true], .tools button").focus();
  }
}

/** Says in the titles of buttons which keys do the same. */
function nameKeys(root) {
  for (const button of root.querySelectorAll("[data-action][title]")) {
    const keys = keysOf(button.dataset.action);
    if (keys !== "") button.title += ` (${keys})`;
  }
}

/** Resolves to whether that worked. */
export async function toggleFullScreen() {
  if (document.fullscreenElement) {
    await document.exitFullscreen();
    return true;
  }
  try {
    await document.documentElement.requestFullscreen();
  } catch {
    return false;
  }
  // Where the browser can, keys that would close or open tabs go to the shell in full screen.
  navigator.keyboard?.lock?.(["KeyW", "KeyT", "KeyN"]).catch(() => {});
  return true;
}

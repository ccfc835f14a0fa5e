// Touch screens: the bar of keys that on-screen keyboards lack, and a box in which text can be written with everything
// that these keyboards do for it before it goes to the terminal.

import { Modifiers } from "./modifiers.js";

const REPEAT_AFTER_MS = 400;
const REPEAT_EVERY_MS = 80;

/** What the keys type; those of the cursor depend on its mode. */
const KEYS = { escape: "\x1b", tab: "\t", bar: "|", tilde: "~" };
const CURSOR_KEYS = { up: "A", down: "B", right: "C", left: "D" };

const coarse = window.matchMedia("(pointer: coarse)");

export class TouchKeys {
  #bar = document.getElementById("touch");
  #compose = document.getElementById("compose");
  #active;
  #repeat = 0;
  modifiers = new Modifiers((states) => this.#showModifiers(states));

  /** `active()` answers the pane that the keys are for. */
  constructor(active) {
    this.#active = active;
    this.#listen();
    followViewport();
    const show = () => {
      this.#bar.hidden = !coarse.matches;
      if (!coarse.matches) this.#showCompose(false);
    };
    coarse.addEventListener("change", show);
    show();
  }

  #listen() {
    // The focus stays in the terminal, so that the on-screen keyboard stays open.
    this.#bar.addEventListener("mousedown", (event) => event.preventDefault());
    this.#bar.addEventListener("contextmenu", (event) => event.preventDefault()); // a long press is a repeat
    this.#bar.addEventListener("pointerdown", (event) => this.#onDown(event));
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
      this.#bar.addEventListener(name, () => clearTimeout(this.#repeat));
    }
    this.#bar.addEventListener("click", (event) => this.#onClick(event));
    this.#compose.addEventListener("submit", (event) => this.#onSubmit(event));
    this.#compose.querySelector(".close").addEventListener("click", () => this.#closeCompose());
    this.#compose.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#closeCompose();
    });
  }

  /** Cursor keys act when they are touched, and again while they are held; all others when they are let go. */
  #onDown(event) {
    const { key } = event.target.closest("button")?.dataset ?? {};
    if (!Object.hasOwn(CURSOR_KEYS, key ?? "")) return;
    this.#press(key);
    const again = () => {
      this.#press(key);
      this.#repeat = setTimeout(again, REPEAT_EVERY_MS);
    };
    clearTimeout(this.#repeat);
    this.#repeat = setTimeout(again, REPEAT_AFTER_MS);
  }

  #onClick(event) {
    const button = event.target.closest("button");
    if (button === null) return;
    const { key, modifier } = button.dataset;
    const isByPointer = event.detail > 0; // and not by a keyboard or a screen reader
    if (modifier) this.modifiers.tap(modifier);
    else if (!key) this.#showCompose(this.#compose.hidden);
    else if (!Object.hasOwn(CURSOR_KEYS, key) || !isByPointer) this.#press(key);
  }

  #press(key) {
    const pane = this.#active();
    if (Object.hasOwn(KEYS, key)) pane.type(KEYS[key]);
    else pane.typeCursorKey(CURSOR_KEYS[key]);
  }

  #showModifiers(states) {
    for (const [name, state] of Object.entries(states)) {
      const button = this.#bar.querySelector(`[data-modifier=${name}]`);
      button.ariaPressed = String(state !== "off");
      button.toggleAttribute("data-locked", state === "locked");
    }
  }

  #showCompose(isShown) {
    this.#compose.hidden = !isShown;
    document.getElementById("touch-compose").ariaExpanded = String(isShown);
    if (isShown) this.#compose.querySelector("textarea").focus();
  }

  #closeCompose() {
    this.#showCompose(false);
    this.#active().focus();
  }

  /** Stays open for the next line. */
  #onSubmit(event) {
    event.preventDefault();
    const field = this.#compose.querySelector("textarea");
    this.#active().typeText(field.value, { withEnter: event.submitter?.value !== "plain" });
    field.value = "";
    field.focus();
  }
}

/** Where the browser lays its keyboard over the page, the page ends above it. */
function followViewport() {
  const viewport = window.visualViewport;
  if (!viewport) return;
  const follow = () => {
    const isCovered = viewport.scale === 1 && viewport.height < window.innerHeight - 1;
    document.documentElement.style.setProperty("--visible-height", isCovered ? `${viewport.height}px` : "");
    if (isCovered) window.scrollTo(0, 0);
  };
  viewport.addEventListener("resize", follow);
  viewport.addEventListener("scroll", follow);
}

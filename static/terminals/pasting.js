// What a person sees of a paste: the question before it, and how far it is.

import { showControls } from "./text.js";
import { formatBytes } from "./units.js";

const SHOWN_LINES = 12;
const SHOWN_CHARACTERS = 200;
/** Most pastes are through before a person could read about them. */
const SHOW_AFTER_MS = 300;

/** The dialog of the page; one question at a time. */
export class PasteQuestion {
  #dialog = document.getElementById("paste");
  #isOpen = false;

  /** Shows what would be pasted; resolves to {isAgreed, asksAgain}. A second question meanwhile is a no. */
  async ask(paste, raw, host) {
    if (this.#isOpen) return { isAgreed: false, asksAgain: true };
    this.#fill(paste, raw, host);
    this.#dialog.returnValue = "";
    this.#dialog.showModal();
    this.#isOpen = true;
    await new Promise((resolve) => this.#dialog.addEventListener("close", resolve, { once: true }));
    this.#isOpen = false;
    return { isAgreed: this.#dialog.returnValue === "paste", asksAgain: !this.#part("again").checked };
  }

  #fill({ lineCount, byteCount, leftOut, runs }, raw, host) {
    const lines = raw.split(/\r\n|\r|\n/);
    const unseen = lineCount - SHOWN_LINES;
    this.#part("title").textContent = `Paste ${count(lineCount, "line")} into ${host}?`;
    this.#part("text").textContent = lines.slice(0, SHOWN_LINES).map(shownLine).join("\n");
    this.#say("rest", unseen > 0 ? `and ${count(unseen, "more line", "more lines")}` : "");
    const controls = `${count(leftOut, "control character")}, shown as ␛ and the like, will be left out.`;
    this.#say("controls", leftOut > 0 ? controls : "");
    this.#say("runs", runs ? "It ends with a line end: a shell runs it at once." : "");
    this.#part("size").textContent = formatBytes(byteCount);
    this.#part("again").checked = false;
  }

  #say(part, text) {
    this.#part(part).textContent = text;
    this.#part(part).hidden = text === "";
  }

  #part(name) {
    return this.#dialog.querySelector(`.${name}`);
  }
}

/** The bar in a pane that says how far a paste is. */
export class PasteProgress {
  #element;
  #totalBytes = 0;
  #timer = 0;

  constructor(element) {
    this.#element = element;
  }

  /** Input of this size is on its way, behind what was on its way before. */
  add(byteCount) {
    this.#totalBytes += byteCount;
    if (this.#timer === 0) this.#timer = setTimeout(() => (this.#element.hidden = false), SHOW_AFTER_MS);
  }

  /** The host has taken all but `waiting` bytes. */
  update(waiting) {
    if (this.#totalBytes === 0) return;
    if (waiting === 0) {
      this.end();
      return;
    }
    const taken = Math.max(0, this.#totalBytes - waiting);
    this.#element.querySelector("progress").max = this.#totalBytes;
    this.#element.querySelector("progress").value = taken;
    this.#element.querySelector(".words").textContent = `Pasting: ${kib(taken)} of ${kib(this.#totalBytes)} KiB`;
  }

  end() {
    clearTimeout(this.#timer);
    this.#timer = this.#totalBytes = 0;
    this.#element.hidden = true;
  }
}

function shownLine(line) {
  const shown = showControls(line.slice(0, SHOWN_CHARACTERS));
  return line.length > SHOWN_CHARACTERS ? `${shown}…` : shown;
}

function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

function kib(bytes) {
  return Math.round(bytes / 1024);
}

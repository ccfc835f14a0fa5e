// The box that searches the terminal's text: Enter finds the next match, Shift+Enter the one before, Esc closes.

import { searchColours } from "./theme.js";

export class FindBox {
  #box;
  #field;
  #count;
  #search;
  #theme;
  #onClosed;

  /** `search` is xterm's add-on; `theme` answers the name of the theme in use. */
  constructor(box, { search, theme, onClosed }) {
    this.#box = box;
    this.#field = box.querySelector("input");
    this.#count = box.querySelector("output");
    this.#search = search;
    this.#theme = theme;
    this.#onClosed = onClosed;
    this.#field.addEventListener("input", () => this.#find({ isIncremental: true }));
    box.addEventListener("keydown", (event) => this.#onKey(event));
    box.addEventListener("click", (event) => this.#onClick(event));
    search.onDidChangeResults(({ resultIndex, resultCount }) => this.#showCount(resultIndex, resultCount));
  }

  open() {
    this.#box.hidden = false;
    this.#field.focus();
    this.#field.select();
  }

  close() {
    this.#box.hidden = true;
    this.#search.clearDecorations();
    this.#onClosed();
  }

  #onKey(event) {
    if (event.key === "Escape") this.close();
    else if (event.key === "Enter" && event.target === this.#field) this.#find({ isBackward: event.shiftKey });
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #onClick(event) {
    const action = event.target.closest("button")?.dataset.find;
    if (action === "close") this.close();
    else if (action) this.#find({ isBackward: action === "previous" });
  }

  #find({ isBackward = false, isIncremental = false }) {
    const term = this.#field.value;
    if (term === "") {
      this.#search.clearDecorations();
      this.#count.value = "";
      return;
    }
    const options = { decorations: searchColours(this.#theme()), incremental: isIncremental };
    if (isBackward) this.#search.findPrevious(term, options);
    else this.#search.findNext(term, options);
  }

  #showCount(index, count) {
    if (this.#field.value === "") this.#count.value = "";
    else if (count === 0) this.#count.value = "no match";
    else this.#count.value = index < 0 ? `${count}` : `${index + 1} of ${count}`;
  }
}

// The box in which a line to the people in a terminal is written. It goes to them, never to the host.

export class SayBox {
  #box;
  #field;
  #say;
  #onClosed;

  /** `say(text)` promises whether it was said; `onClosed` gives the keyboard back to the terminal. */
  constructor(box, { say, onClosed }) {
    this.#box = box;
    this.#field = box.querySelector("input");
    this.#say = say;
    this.#onClosed = onClosed;
    box.addEventListener("submit", (event) => this.#onSubmit(event));
    box.querySelector(".close").addEventListener("click", () => this.close());
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
  }

  open() {
    this.#box.hidden = false;
    this.#field.focus();
  }

  close() {
    if (this.#box.hidden) return;
    this.#box.hidden = true;
    this.#onClosed();
  }

  async #onSubmit(event) {
    event.preventDefault();
    const text = this.#field.value.trim();
    if (text === "" || this.#field.disabled) return;
    this.#field.disabled = true;
    const isSaid = await this.#say(text);
    this.#field.disabled = false;
    if (isSaid) this.#field.value = "";
    if (isSaid) this.close();
    else this.#field.focus();
  }
}

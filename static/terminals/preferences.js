// How a person likes terminals. The broker keeps it for all their browsers; the page has a copy, which everything in it
// follows at once.

const SAVE_AFTER_MS = 600;

/** Font sizes in pixels; the broker takes no others. */
export const FONT_PX = Object.freeze({ least: 8, most: 32 });

export const DEFAULTS = Object.freeze({
  font_family: "",
  font_size: 14,
  line_height: 1.0,
  theme: "auto",
  cursor_style: "block",
  cursor_blink: false,
  scrollback: 10_000,
  copy_on_select: false,
  clipboard_write: false,
  bell: "visual",
  screen_reader: false,
  confirm_paste: true,
});

export class Preferences {
  #values;
  #save;
  #failed;
  #listeners = new Set();
  #timer = 0;

  /** `save(values)` promises that the broker keeps them; `failed(problem)` hears when it does not. */
  constructor({ values, save, failed }) {
    this.#values = { ...DEFAULTS, ...values };
    this.#save = save;
    this.#failed = failed;
    window.addEventListener("pagehide", () => this.#saveNow());
  }

  /** All of them, by their names in REST. */
  get values() {
    return this.#values;
  }

  /** Calls `listener(values)` now and after each change; answers a function that ends this. */
  follow(listener) {
    this.#listeners.add(listener);
    listener(this.#values);
    return () => this.#listeners.delete(listener);
  }

  /** Takes some new values; the broker hears of them a little later, all at once. */
  change(some) {
    const isSame = Object.entries(some).every(([name, value]) => this.#values[name] === value);
    if (isSame) return;
    this.#values = { ...this.#values, ...some };
    for (const listener of this.#listeners) listener(this.#values);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#saveNow(), SAVE_AFTER_MS);
  }

  async #saveNow() {
    if (this.#timer === 0) return;
    clearTimeout(this.#timer);
    this.#timer = 0;
    try {
      await this.#save(this.#values);
    } catch (problem) {
      this.#failed(problem);
    }
  }
}

/** What the broker put into the page. */
export function preferencesInPage() {
  return JSON.parse(document.getElementById("preferences")?.textContent ?? "{}");
}

// The dialog in which a person sets how terminals look and behave. Every change shows at once, behind the dialog.

import { DEFAULTS } from "./preferences.js";

export class SettingsDialog {
  #dialog = document.getElementById("settings");
  #form = this.#dialog.querySelector("form");
  #preferences;

  /** `onClosed` gives the keyboard back to the terminal. */
  constructor(preferences, onClosed) {
    this.#preferences = preferences;
    this.#form.addEventListener("input", (event) => this.#onInput(event.target));
    this.#form.addEventListener("change", () => this.#fill(this.#preferences.values));
    this.#form.querySelector(".defaults").addEventListener("click", () => preferences.change(DEFAULTS));
    this.#dialog.addEventListener("close", onClosed);
    preferences.follow((values) => {
      if (!this.#form.contains(document.activeElement)) this.#fill(values);
    });
  }

  open() {
    this.#fill(this.#preferences.values);
    this.#dialog.showModal();
  }

  /** A field that does not hold a possible value yet changes nothing; once it is left, it shows the value in force. */
  #onInput(field) {
    if (!(field.name in DEFAULTS) || !field.checkValidity()) return;
    this.#preferences.change({ [field.name]: valueOf(field) });
  }

  #fill(values) {
    for (const [name, value] of Object.entries(values)) {
      const field = this.#form.elements.namedItem(name);
      if (field?.type === "checkbox") field.checked = value;
      else if (field) field.value = value;
    }
  }
}

function valueOf(field) {
  if (field.type === "checkbox") return field.checked;
  return field.type === "number" ? field.valueAsNumber : field.value;
}

// The dialog with everything about the people in one terminal. It opens only when somebody asks for it.

import { PeoplePanel } from "./peoplepanel.js";

export class PeopleDialog {
  #dialog = document.getElementById("people");
  #panel;

  /** As for a PeoplePanel; `onClosed` hears that it is closed. */
  constructor({ sharing, place, takeBack, onClosed }) {
    this.#panel = new PeoplePanel({ sharing, place, takeBack });
    this.#dialog.querySelector(".content").replaceChildren(this.#panel.element);
    this.#dialog.addEventListener("close", () => this.#close(onClosed), { once: true });
    this.#dialog.showModal();
  }

  show(state) {
    this.#panel.show(state);
  }

  /** With it goes a link that was shown. */
  #close(onClosed) {
    this.#dialog.querySelector(".content").replaceChildren();
    onClosed();
  }
}

// The people in a live terminal, on the page of its session: for an owner who sits at ssh, or anywhere else. Follows what
// happens there while somebody looks.

import { PeoplePanel } from "../terminals/peoplepanel.js";
import { Rest } from "../terminals/rest.js";
import { Sharing } from "../terminals/sharing.js";

const EVERY_MS = 2000;

class SessionPeople {
  #sharing;
  #panel;
  #timer = 0;
  #isLost = false;

  constructor(section) {
    const { api, csrf, session, host, login } = section.dataset;
    this.#sharing = new Sharing(new Rest(api, csrf), session);
    this.#panel = new PeoplePanel({
      sharing: this.#sharing,
      place: { host, login },
      takeBack: () => this.#sharing.takeBack(),
    });
    section.append(this.#panel.element);
    section.addEventListener("click", () => this.#lookSoon(EVERY_MS / 4)); // what was just done shows soon
    document.addEventListener("visibilitychange", () => this.look());
  }

  async look() {
    clearTimeout(this.#timer);
    if (document.visibilityState !== "visible") return; // goes on when it is
    try {
      const { items, asking } = await this.#sharing.viewers();
      this.#panel.show({ people: items, asking: asking ?? [], you: null, isOwner: true });
      if (this.#isLost) this.#panel.complain("");
      this.#isLost = false;
    } catch (problem) {
      this.#isLost = true;
      this.#panel.complain(problem.message);
    }
    this.#lookSoon(EVERY_MS);
  }

  #lookSoon(inMs) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.look(), inMs);
  }
}

new SessionPeople(document.getElementById("session-people")).look();

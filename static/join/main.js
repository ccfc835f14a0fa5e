// The page that a link to a shared terminal leads to: asks to come in, waits for the answer, and becomes the terminal.

import { restOfPage } from "../terminals/rest.js";
import { Gate } from "./gate.js";
import { keepPass, takePass } from "./pass.js";
import { Solo } from "./solo.js";

const EVERY_MS = 1000;

class Joining {
  #rest = restOfPage();
  #pass = takePass();
  #timer = 0;
  #gate = new Gate({
    named: (name) => this.#ask(name),
    again: () => this.#ask(this.#pass.name ?? ""),
  });

  constructor() {
    window.addEventListener("hashchange", () => location.reload()); // another link, in the same tab
  }

  /** Goes on where a reload or a login interrupted it. */
  start() {
    if (this.#pass === null) this.#gate.show("nothing");
    else if (this.#pass.admission) this.#enter(this.#pass);
    else if (this.#pass.ask) this.#hear();
    else this.#ask("");
  }

  async #ask(name) {
    clearTimeout(this.#timer);
    if (name === "") this.#gate.show("looking");
    const { secret } = this.#pass;
    try {
      const answer = await this.#rest.call("POST", "/shares/ask", name === "" ? { secret } : { secret, name });
      this.#gate.complain("");
      this.#take(answer, { secret, name });
    } catch (problem) {
      this.#onRefusedToAsk(problem, name);
    }
  }

  #onRefusedToAsk(problem, name) {
    if (problem.status === 401) this.#gate.show("login");
    else if (problem.status === 404) this.#gate.show("gone");
    else if (problem.status !== 422 || document.body.dataset.person !== "") this.#gate.show("problem", problem);
    else {
      this.#gate.show("name");
      this.#gate.complain(name === "" ? "" : problem.message);
    }
  }

  #take(answer, { secret, name, key = answer.key }) {
    const { ask, session, host, login, admission } = answer;
    this.#pass = { secret, name, ask, key, session, host, login, admission };
    keepPass(this.#pass);
    if (answer.state === "admitted" && admission) this.#enter(this.#pass);
    else {
      this.#gate.show(answer.state, answer);
      if (answer.state === "asking") this.#timer = setTimeout(() => this.#hear(), EVERY_MS);
    }
  }

  async #hear() {
    const { ask, key } = this.#pass;
    try {
      this.#take(await this.#rest.call("POST", `/shares/asks/${encodeURIComponent(ask)}`, { key }), this.#pass);
    } catch (problem) {
      if (problem.isPassing) this.#timer = setTimeout(() => this.#hear(), (problem.retryAfterS ?? 3) * EVERY_MS);
      else if (problem.status === 404) this.#ask(this.#pass.name ?? ""); // forgotten meanwhile: the link says the rest
      else this.#gate.show("problem", problem);
    }
  }

  #enter({ session, host, login, admission }) {
    this.#gate.close();
    for (const part of document.querySelectorAll("[data-terminal]")) part.hidden = false;
    new Solo({ rest: this.#rest, place: { host, login: login ?? "" }, session, admission }).start();
  }
}

new Joining().start();

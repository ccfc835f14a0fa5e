// What a joiner reads until the terminal is there.

import { say } from "../terminals/keyed.js";
import { cleanTitle } from "../terminals/text.js";

const toDrive = ({ role }) => (role === "driver" ? "to join, and to type when it is handed over" : "to watch");

/** By the name of the view: what it says of an answer of the broker, and what it shows. */
const VIEWS = {
  looking: () => ({ title: "Looking for the terminal…", text: "" }),
  name: () => ({
    title: "Join a shared terminal",
    text: "Say who you are. The owner of the terminal reads it, and lets you in or not. You will only watch.",
    shows: "naming",
  }),
  login: () => ({ title: "Join a shared terminal", text: "This link is for people with an account here.", shows: "login" }),
  asking: (answer) => ({
    title: `Waiting for ${cleanTitle(answer.owner)} to let you in`,
    text: `You asked as ${cleanTitle(answer.as)} ${toDrive(answer)}, on ${cleanTitle(answer.host)}. Keep this page open.`,
    isWaiting: true,
  }),
  refused: (answer) => ({ title: `${cleanTitle(answer.owner)} did not let you in`, text: "", shows: "again" }),
  ended: () => ({ title: "This is over", text: "The terminal has ended, or the link is not valid any more." }),
  gone: () => ({ title: "This link does not work", text: "It is not valid, or not any more. Ask for a new one." }),
  nothing: () => ({ title: "Join a shared terminal", text: "Open the link that you were given: all of it, with what follows the #." }),
  problem: (problem) => ({ title: "That did not work", text: problem.message, shows: "again" }),
};

export class Gate {
  #gate = document.getElementById("gate");
  #form = this.#gate.querySelector(".naming");

  /** `named(name)`: a guest says who they are; `again()`: asks once more. */
  constructor({ named, again }) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      named(this.#form.elements.name.value.trim());
    });
    this.#gate.querySelector(".again button").addEventListener("click", again);
  }

  /** Shows a view; `about` is the broker's answer or the problem that it is about. */
  show(view, about = null) {
    const { title, text, shows = "", isWaiting = false } = VIEWS[view](about);
    say(this.#gate.querySelector("h1"), title);
    say(this.#gate.querySelector(".text"), text);
    this.#gate.toggleAttribute("data-waiting", isWaiting);
    for (const part of ["naming", "login", "again"]) this.#gate.querySelector(`.${part}`).hidden = part !== shows;
    if (shows === "naming") this.#form.elements.name.focus();
    document.title = `${title} · brokerd`;
  }

  /** Something is wrong with what was filled in. */
  complain(text) {
    const wrong = this.#form.querySelector(".wrong");
    wrong.hidden = text === "";
    say(wrong, text);
  }

  close() {
    this.#gate.hidden = true;
  }
}

// What the owner of a terminal is asked by others: to let them in, to give them the keyboard. Shown over the terminal and
// never in the way: it does not take the keyboard, so that nothing that is typed into the shell can answer it.

import { make, say, showList } from "./keyed.js";
import { describeAsking, nameOf } from "./people.js";
import { Settling } from "./settling.js";

export class Requests {
  #list;
  #answer;
  #settling = new Settling();
  #dismissed = new Set();
  #requests = new Map();

  /** `answer(request, isGranted)` promises that it is done; a request is {id, kind: "ask" | "keyboard", about}. */
  constructor(list, answer) {
    this.#list = list;
    this.#answer = answer;
    list.addEventListener("mousedown", (event) => event.preventDefault()); // the terminal keeps the keyboard
    list.addEventListener("click", (event) => this.#onClick(event));
    list.addEventListener("keydown", (event) => {
      if (event.repeat) event.preventDefault(); // an Enter that is still held answers nothing
    });
  }

  /** `asking` want to come in; those of `people` that want the keyboard ask for that. */
  show({ asking, people }) {
    const wanting = people.filter(({ wants }) => wants).map((about) => ({ id: `keyboard-${about.id}`, kind: "keyboard", about }));
    const asks = asking.map((about) => ({ id: `ask-${about.id}`, kind: "ask", about }));
    for (const id of this.#dismissed) if (!wanting.some((request) => request.id === id)) this.#dismissed.delete(id);
    const requests = [...asks, ...wanting.filter(({ id }) => !this.#dismissed.has(id))];
    this.#settling.shows(requests.map(({ id }) => id));
    this.#requests = new Map(requests.map((request) => [request.id, request]));
    showList(this.#list, requests, { make: newRequest, fill });
  }

  async #onClick(event) {
    const button = event.target.closest("button");
    const request = this.#requests.get(button?.parentElement.dataset.key);
    if (request === undefined || this.#settling.isTooSoon(event)) return;
    const buttons = Array.from(button.parentElement.querySelectorAll("button"));
    const isGranted = button.value === "yes";
    if (!isGranted && request.kind === "keyboard") {
      this.#dismissed.add(request.id);
      button.parentElement.remove();
    }
    for (const one of buttons) one.disabled = true;
    await this.#answer(request, isGranted);
    for (const one of buttons) one.disabled = false;
  }
}

function newRequest() {
  return make(
    "li",
    { className: "request" },
    make("bdi", { className: "words" }),
    make("button", { type: "button", value: "yes" }),
    make("button", { type: "button", value: "no" }),
  );
}

function fill(element, { kind, about }) {
  const [yes, no] = element.querySelectorAll("button");
  const isAsk = kind === "ask";
  say(element.querySelector(".words"), isAsk ? describeAsking(about) : `${nameOf(about)} asks for the keyboard`);
  say(yes, isAsk ? "Admit" : "Hand over");
  say(no, isAsk ? "Refuse" : "Not now");
  yes.ariaLabel = isAsk ? `Admit ${nameOf(about)}` : `Hand the keyboard over to ${nameOf(about)}`;
  no.ariaLabel = isAsk ? `Refuse ${nameOf(about)}` : `Keep the keyboard from ${nameOf(about)}`;
}

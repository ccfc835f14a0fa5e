// Everything about the people in one terminal, in a list: who asks, who is here, and for its owner what can be done about
// that. Shown in a dialog over the terminal, and on the page of the session.

import { make, say, showList } from "./keyed.js";
import { describeAsking, describeRole, nameOf } from "./people.js";
import { Settling } from "./settling.js";
import { SharePanel } from "./sharepanel.js";

export class PeoplePanel {
  element = document.getElementById("people-panel").content.firstElementChild.cloneNode(true);
  #acts;
  #isOwner = false;
  #settling = new Settling();
  #share;

  /** `sharing` is the Sharing of the session at `place`; `takeBack()` takes the keyboard back for its owner. */
  constructor({ sharing, place, takeBack }) {
    this.#acts = {
      admit: (id) => sharing.answer(id, true),
      refuse: (id) => sharing.answer(id, false),
      handOver: (id) => sharing.handOver(id),
      remove: (id) => sharing.remove(id),
      takeBack,
    };
    this.#share = new SharePanel(this.element.querySelector(".sharing"), { sharing, place });
    this.element.addEventListener("click", (event) => this.#onClick(event));
    this.element.addEventListener("keydown", (event) => {
      if (event.repeat && event.target.matches("button")) event.preventDefault();
    });
  }

  /** `people` are here, `you` is the id of the one who looks (null: elsewhere); `asking` only the owner knows of. */
  show({ people, asking, you, isOwner }) {
    this.#isOwner = isOwner;
    this.#settling.shows([...asking, ...people].map(({ id }) => id));
    this.#part("asking").hidden = asking.length === 0;
    this.#part("nobody").hidden = people.length > 0;
    showList(this.#part("asking").querySelector("ul"), asking, { make: newRow, fill: (row, one) => this.#fillAsking(row, one) });
    showList(this.#part("here").querySelector("ul"), people, { make: newRow, fill: (row, one) => this.#fillPerson(row, one, you) });
    if (isOwner) this.#share.start();
  }

  /** Something could not be done, or could not be learned; "" takes that back. */
  complain(text) {
    const problem = this.#part("problem");
    problem.hidden = text === "";
    say(problem, text);
  }

  #part(name) {
    return this.element.querySelector(`.${name}`);
  }

  #fillAsking(row, asking) {
    describe(row, describeAsking(asking), "");
    offer(row, asking, { admit: "Admit", refuse: "Refuse" });
  }

  #fillPerson(row, person, you) {
    const isYou = person.id === you;
    const facts = [
      describeRole(person),
      person.is_owner ? "owner" : "",
      person.way === "ssh" ? "by ssh" : "",
      person.wants ? "asks for the keyboard" : "",
    ];
    describe(row, isYou ? `${nameOf(person)} (you)` : nameOf(person), facts.filter(Boolean).join(" · "));
    row.dataset.role = person.role;
    offer(row, person, this.#isOwner ? offersFor(person, isYou) : {});
  }

  async #onClick(event) {
    const { target } = event;
    const { act } = target.dataset;
    const { key } = target.closest("li")?.dataset ?? {};
    if (act === undefined || key === undefined || this.#settling.isTooSoon(event)) return;
    target.disabled = true;
    try {
      await this.#acts[act](key);
      this.complain("");
    } catch (problem) {
      this.complain(problem.message);
    }
    target.disabled = false;
  }
}

/** What the owner may do with somebody who is here: names of buttons by act. */
function offersFor({ role, via, may_drive: mayDrive, is_owner: isOwner }, isYou) {
  if (isOwner) return role === "driver" ? {} : { takeBack: isYou ? "Take back the keyboard" : "Take back" };
  const keyboard = role === "driver" ? { takeBack: "Take back" } : mayDrive ? { handOver: "Hand over" } : {};
  return via === "share" ? { ...keyboard, remove: "Remove" } : keyboard; // who observes does so by a right of their own
}

function newRow() {
  return make("li", {}, make("bdi", { className: "name" }), make("span", { className: "about" }), make("span", { className: "acts" }));
}

function describe(row, name, about) {
  say(row.querySelector(".name"), name);
  say(row.querySelector(".about"), about);
}

/** Buttons for the acts that are possible; those that stay keep the focus. */
function offer(row, about, offers) {
  const things = Object.entries(offers).map(([id, words]) => ({ id, words }));
  showList(row.querySelector(".acts"), things, {
    make: ({ id }) => make("button", { type: "button", className: id === "remove" || id === "refuse" ? "is-no" : "" }),
    fill: (button, { id, words }) => {
      button.dataset.act = id;
      button.ariaLabel = `${words}: ${nameOf(about)}`;
      say(button, words);
    },
  });
}

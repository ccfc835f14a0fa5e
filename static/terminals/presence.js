// The strip of one pane that says who is here, who of them types, and whether all this is recorded.

import { make, say, showList } from "./keyed.js";
import { describeRole, nameOf } from "./people.js";
import { cleanTitle } from "./text.js";

const ICONS = {
  driver: "M1.5 4.5h13v8h-13zM4 7.2h.01M6.6 7.2h.01M9.3 7.2h.01M12 7.2h.01M5 10h6",
  watcher: "M1.5 8s2.4-4.2 6.5-4.2S14.5 8 14.5 8s-2.4 4.2-6.5 4.2S1.5 8 1.5 8zM8 6.2v3.6M6.2 8h3.6",
};

export class Presence {
  #count;
  #people;
  #mine;
  #recorded;

  /** `head` is the head of the pane. */
  constructor(head) {
    this.#count = head.querySelector(".count");
    this.#people = head.querySelector(".company");
    this.#mine = head.querySelector(".mine");
    this.#recorded = head.querySelector(".recorded");
  }

  setRecorded(isRecorded) {
    this.#recorded.hidden = !isRecorded;
  }

  /** `people` are those of the broker's message, `you` the id of the one who looks on here. */
  show({ people, you }) {
    const others = people.filter(({ id }) => id !== you);
    const self = people.find(({ id }) => id === you);
    this.#count.textContent = others.length > 0 ? String(people.length) : "";
    this.#people.hidden = others.length === 0;
    showList(this.#people, this.#inOrder(people), { make: newPerson, fill: (element, person) => fillPerson(element, person, you) });
    this.#showMine(self);
  }

  /** The one who types first, then who came from outside of the session: nobody should be watched unseen. */
  #inOrder(people) {
    const rank = ({ role, via }) => (role === "driver" ? 0 : via === "observe" ? 1 : 2);
    return [...people].sort((one, other) => rank(one) - rank(other));
  }

  /** What the person here may do about the keyboard. */
  #showMine(self) {
    const { words, offer } = describeMine(self);
    const button = this.#mine.querySelector("button");
    this.#mine.hidden = words === "";
    say(this.#mine.querySelector(".words"), words);
    say(button, offer);
    button.hidden = offer === "";
  }
}

/** {words, offer}: how the person stands to the keyboard, and the name of the button that changes it; "" for neither. */
export function describeMine(self) {
  if (self === undefined) return { words: "", offer: "" };
  const { role, is_owner: isOwner, may_drive: mayDrive, wants } = self;
  if (role === "driver") return isOwner ? { words: "", offer: "" } : { words: "You type", offer: "Give back" };
  if (isOwner) return { words: "You watch", offer: "Take back" };
  if (!mayDrive) return { words: "You watch", offer: "" };
  return wants ? { words: "You asked to type", offer: "" } : { words: "You watch", offer: "Ask to type" };
}

function newPerson() {
  return make(
    "li",
    { className: "person" },
    icon(),
    make("span", { className: "unseen role" }),
    make("bdi", { className: "name" }),
    make("span", { className: "badge" }),
  );
}

function fillPerson(element, person, you) {
  const { name, role, via, is_guest: isGuest, id } = person;
  const isObserver = via === "observe";
  element.dataset.role = role;
  element.toggleAttribute("data-observes", isObserver);
  element.toggleAttribute("data-you", id === you);
  element.title = `${nameOf(person)} ${describeRole(person)}`;
  element.querySelector("path").setAttribute("d", ICONS[role]);
  say(element.querySelector(".role"), isObserver ? "" : `${describeRole(person)}: `);
  say(element.querySelector(".name"), id === you ? "you" : cleanTitle(name));
  say(element.querySelector(".badge"), isGuest ? "guest" : isObserver ? "observes" : "");
}

function icon() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  return svg;
}

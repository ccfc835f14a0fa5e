// The people in one terminal, as its pane shows them: the strip, what they ask of the owner, and news of them.

import { PeopleDialog } from "./peopledialog.js";
import { describeChanges } from "./people.js";
import { Presence, describeMine } from "./presence.js";
import { Requests } from "./requests.js";
import { SayBox } from "./saying.js";

const NOBODY = Object.freeze({ people: [], asking: [], you: null, owner: "", isOwner: false });

export class Company {
  #page;
  #presence;
  #requests;
  #say;
  #dialog = null;
  #state = NOBODY;

  /**
   * `pane` is its element. `page`: `place`, sharing() answers the Sharing of the session, or null while there is none;
   * askRole(role), note(text) and focus() (gives the keyboard back to the terminal).
   */
  constructor(pane, page) {
    this.#page = page;
    this.#presence = new Presence(pane.querySelector(".head"));
    this.#requests = new Requests(pane.querySelector(".requests"), (request, isGranted) => this.#answer(request, isGranted));
    this.#say = new SayBox(pane.querySelector(".say"), {
      say: (text) => this.#try((sharing) => sharing.say(text)),
      onClosed: () => page.focus(),
    });
  }

  /** Attached: `recorded` as the broker has it. */
  attached({ recorded = false }) {
    this.#presence.setRecorded(recorded);
  }

  /** The broker's message: who is here now. */
  take({ items, asking, you, owner }) {
    const before = this.#state;
    const self = items.find(({ id }) => id === you);
    this.#state = { people: items, asking: asking ?? [], you, owner, isOwner: self?.is_owner ?? false };
    if (before.you === you) {
      for (const news of describeChanges(before.people, items, you)) this.#page.note(news);
    }
    this.#show();
  }

  /** Not attached any more: nothing is known. */
  clear() {
    this.#state = NOBODY;
    this.#show();
  }

  /** Opens the dialog with everything about them. */
  open() {
    const sharing = this.#page.sharing();
    if (sharing === null) return;
    this.#dialog = new PeopleDialog({
      sharing,
      place: this.#page.place,
      takeBack: () => this.#page.askRole("driver"),
      onClosed: () => {
        this.#dialog = null;
        this.#page.focus();
      },
    });
    this.#dialog.show(this.#state);
  }

  write() {
    if (this.#state.people.length > 0) this.#say.open();
  }

  /** Takes the keyboard back, asks for it or gives it back: what the button in the strip says. */
  turn() {
    const self = this.#self;
    if (self === undefined || describeMine(self).offer === "") return;
    this.#page.askRole(self.role === "driver" ? "watcher" : "driver");
  }

  /** What somebody is told who types where they only watch. */
  get hint() {
    const self = this.#self;
    if (self?.is_owner) return "You lent the keyboard, and watch. Take it back to type.";
    return self?.may_drive ? "You are watching. Ask for the keyboard to type." : "You are watching: what you type goes nowhere.";
  }

  get #self() {
    return this.#state.people.find(({ id }) => id === this.#state.you);
  }

  #show() {
    this.#presence.show(this.#state);
    this.#requests.show(this.#state.isOwner ? this.#state : NOBODY);
    this.#dialog?.show(this.#state);
    if (this.#state.people.length === 0) this.#say.close();
  }

  #answer({ kind, about }, isGranted) {
    if (kind === "keyboard" && !isGranted) return;
    return this.#try((sharing) => (kind === "ask" ? sharing.answer(about.id, isGranted) : sharing.handOver(about.id)));
  }

  /** Resolves to whether it worked; where it did not, the person is told. */
  async #try(act) {
    try {
      await act(this.#page.sharing());
      return true;
    } catch (problem) {
      this.#page.note(problem.message);
      return false;
    }
  }
}

// A page with one terminal that is somebody else's: watched, or joined. The same pane as on the terminal page, without
// the tabs and without what only an owner does.

import { Bar, toggleFullScreen } from "../terminals/bar.js";
import { allowTerminalStyles } from "../terminals/csp.js";
import { followLink, isAsking, showKeys } from "../terminals/dialogs.js";
import { Habits } from "../terminals/habits.js";
import { shortcut } from "../terminals/keys.js";
import { Pane } from "../terminals/pane.js";
import { Sharing } from "../terminals/sharing.js";

/** What a person can do at the end of a terminal that is not theirs. */
const OFFERS = ["reconnect", "takeBack", "retry", "reload"];
const OFFERS_WITH_LOGIN = [...OFFERS, "login", "back"];

export class Solo {
  #rest;
  #pane;
  #habits;
  #bar;

  #actions = {
    leave: () => this.#bar.focus(),
    keys: () => this.#andFocus(showKeys()),
    fullscreen: () => this.#toggleFullScreen(),
  };

  /** `place` is {host, login}; `admission` of a joiner, null for those whom a right of their own lets in. */
  constructor({ rest, place, session, admission = null }) {
    allowTerminalStyles();
    this.#rest = rest;
    const isGuest = document.body.dataset.person === "";
    this.#habits = new Habits({ api: { savePreferences: (values) => this.#save(values, isGuest) }, active: () => this.#pane });
    this.#bar = new Bar(
      (action) => this.#act(action),
      () => this.#pane.focus(),
    );
    this.#pane = new Pane({
      place: { ...place, isForeign: true },
      session,
      role: "watcher",
      page: {
        api: { takeTicket: (id, role) => this.#takeTicket(id, role, admission) },
        habits: this.#habits,
        offers: isGuest ? OFFERS : OFFERS_WITH_LOGIN,
        sharing: (id) => new Sharing(rest, id, admission),
        changed: () => this.#show(),
        typed: () => {},
        pasted: () => {},
        printed: () => {},
        rang: () => {},
        toggled: () => {},
        followLink: (url) => this.#andFocus(followLink(url)),
        close: () => this.#leave(),
        leave: () => this.#leave(),
      },
    });
    this.#listen();
    window.brokerdScreen = Object.freeze({ text: () => this.#pane.text() });
  }

  start() {
    const stage = document.querySelector(".stage");
    stage.append(this.#pane.element);
    this.#pane.open();
    this.#pane.setActive(true);
    this.#pane.start();
  }

  #listen() {
    document.addEventListener("keydown", (event) => this.#onKey(event));
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#pane.wake();
    });
    window.addEventListener("online", () => this.#pane.wake());
  }

  #onKey(event) {
    const action = shortcut(event);
    if (action === null || action === "paste" || isAsking()) return; // the browser turns the keys into a paste event
    event.preventDefault();
    if (!event.repeat) this.#act(action);
  }

  #act(action) {
    if (Object.hasOwn(this.#actions, action)) this.#actions[action]();
    else if (!this.#habits.act(action)) this.#pane.act(action);
  }

  #show() {
    this.#bar.show(this.#pane, { hasRung: false });
  }

  #takeTicket(session, role, admission) {
    const wanted = admission === null ? { role } : { role, admission };
    return this.#rest.call("POST", `/sessions/${encodeURIComponent(session)}/tickets`, wanted);
  }

  /** A guest's settings live as long as their page. */
  async #save(values, isGuest) {
    if (!isGuest) await this.#rest.call("PUT", "/preferences", values, { keepalive: true });
  }

  #leave() {
    location.assign(document.body.dataset.hostsUrl);
  }

  async #toggleFullScreen() {
    const isDone = await toggleFullScreen();
    if (!isDone) this.#pane.note("The browser did not let this page use the full screen.");
    this.#pane.focus();
  }

  async #andFocus(done) {
    await done;
    this.#pane.focus();
  }
}

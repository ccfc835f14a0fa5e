// The tabs of the page with their panes, which of them has the keyboard, and what a person can do with them.

import { isRevisited, namedTerminal, nameTerminal } from "./address.js";
import { Api } from "./api.js";
import { Bar, toggleFullScreen } from "./bar.js";
import { Broadcast } from "./broadcast.js";
import { Chooser } from "./chooser.js";
import { askToEnd, followLink, isAsking, showKeys } from "./dialogs.js";
import { Habits } from "./habits.js";
import { shortcut, tabNumber } from "./keys.js";
import { MOST_PANES, recall, remember } from "./memory.js";
import { Pane } from "./pane.js";
import { restOfPage } from "./rest.js";
import { Sharing } from "./sharing.js";
import { Tab } from "./tab.js";
import { TabStrip } from "./tabs.js";

/** Actions that go on while their keys are held. */
const REPEATED = new Set(["left", "right", "up", "down"]);

export class Workspace {
  #rest = restOfPage();
  #api = new Api(this.#rest);
  #main = document.querySelector("main");
  #tabs = [];
  #shown = null;
  #hasChanged = false;
  #hasRung = false;
  #habits = new Habits({ api: this.#api, active: () => this.#active });
  #chooser = new Chooser(this.#api);
  #broadcast = new Broadcast(() => this.#show(this.#shown));
  #bar = new Bar(
    (action) => this.#act(action),
    () => this.#active.focus(),
  );
  #strip = new TabStrip({
    chosen: (tab) => this.#show(tab),
    moved: (tab) => this.#show(tab, { isKeyboardKept: true }),
    closed: (tab) => this.#close(tab.panes),
  });

  /** What panes know of the page. */
  #page = {
    api: this.#api,
    habits: this.#habits,
    sharing: (session) => new Sharing(this.#rest, session),
    changed: () => this.#changed(),
    typed: (pane, bytes) => this.#broadcast.typed(pane, bytes),
    pasted: (pane, text) => this.#broadcast.pasted(pane, text),
    printed: (pane) => this.#mark(pane, "activity"),
    rang: (pane) => this.#onBell(pane),
    toggled: () => this.#changed(),
    followLink: (url) => this.#andFocus(followLink(url)),
    close: (pane) => this.#close([pane]),
    leave: (pane) => this.#close([pane]),
  };

  #actions = {
    open: () => this.#open(),
    splitRight: () => this.#split("row"),
    splitDown: () => this.#split("column"),
    left: () => this.#move("left"),
    right: () => this.#move("right"),
    up: () => this.#move("up"),
    down: () => this.#move("down"),
    broadcast: () => this.#toggleBroadcast(),
    leave: () => this.#bar.focus(),
    keys: () => this.#andFocus(showKeys()),
    fullscreen: () => this.#toggleFullScreen(),
  };

  constructor() {
    document.addEventListener("keydown", (event) => this.#onKey(event));
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#onSeen();
    });
    window.addEventListener("online", () => this.#wake());
    for (const name of ["focusin", "pointerdown"]) this.#main.addEventListener(name, ({ target }) => this.#onTouched(target));
    // For tests, and for screen readers' scripts: the visible text.
    window.brokerdScreen = Object.freeze({ text: () => this.#active.text() });
  }

  /** Shows what was shown before a reload, else the one terminal that the address names. */
  start() {
    const named = namedTerminal();
    const known = recall(document.body.dataset.person);
    const isKnown = known?.tabs.some(({ panes }) => panes.some(({ session }) => session !== null && session === named.session));
    if (known !== null && (isKnown || (named.session === null && isRevisited()))) this.#restore(known, named.session);
    else this.#restore({ tabs: [{ layout: "0", panes: [named], active: 0 }], shown: 0 }, named.session);
  }

  get #active() {
    return this.#shown.active;
  }

  get #panes() {
    return this.#tabs.flatMap((tab) => tab.panes);
  }

  #tabOf(pane) {
    return this.#tabs.find((tab) => tab.panes.includes(pane));
  }

  #restore({ tabs, shown }, session) {
    for (const { layout, panes, active } of tabs) {
      const filled = panes.map((terminal) => this.#newPane(terminal));
      this.#addTab(filled, layout, filled[active]);
    }
    const named = session === null ? undefined : this.#panes.find((pane) => pane.session === session);
    if (named) this.#tabOf(named).active = named;
    this.#show(named ? this.#tabOf(named) : this.#tabs[shown]);
    for (const pane of this.#panes) begin(pane);
  }

  #newPane({ host, login, session = null }) {
    return new Pane({ place: { host, login }, session, page: this.#page });
  }

  #addTab(panes, layout, active) {
    const tab = new Tab(() => this.#changed());
    this.#main.append(tab.element);
    tab.fill(panes, layout, active);
    this.#tabs.push(tab);
    return tab;
  }

  #show(tab, { isKeyboardKept = false } = {}) {
    this.#shown = tab;
    tab.mark = "";
    for (const other of this.#tabs) other.element.toggleAttribute("data-shown", other === tab);
    this.#markActive();
    this.#refresh();
    if (!isKeyboardKept) this.#active.focus();
  }

  #activate(pane) {
    this.#tabOf(pane).active = pane;
    this.#show(this.#tabOf(pane));
  }

  #markActive() {
    for (const pane of this.#panes) pane.setActive(pane === this.#active);
  }

  /** Many things change at once, and some at the pace of a program's output: what shows them is made anew once. */
  #changed() {
    if (this.#hasChanged) return;
    this.#hasChanged = true;
    queueMicrotask(() => {
      this.#hasChanged = false;
      this.#refresh();
    });
  }

  #refresh() {
    if (this.#shown === null) return;
    const panes = this.#panes;
    for (const pane of panes) pane.nameBack(panes.length > 1 ? "Close" : "Back to hosts");
    this.#bar.show(this.#active, { hasRung: this.#hasRung });
    this.#strip.render(this.#tabs, this.#shown);
    this.#broadcast.refresh(this.#shown);
    nameTerminal(this.#active);
    remember(document.body.dataset.person, {
      tabs: this.#tabs.map((tab) => tab.picture),
      shown: this.#tabs.indexOf(this.#shown),
    });
  }

  #mark(pane, mark) {
    const tab = this.#tabOf(pane);
    if (tab === this.#shown || tab === undefined || tab.mark === "bell" || tab.mark === mark) return;
    tab.mark = mark;
    this.#changed();
  }

  /** Where nobody sees the page, its title tells of the bell. */
  #onBell(pane) {
    this.#hasRung ||= document.hidden;
    this.#mark(pane, "bell");
    this.#changed();
  }

  #onSeen() {
    this.#hasRung = false;
    this.#changed();
    this.#wake();
  }

  #wake() {
    for (const pane of this.#panes) pane.wake();
  }

  #act(action) {
    if (Object.hasOwn(this.#actions, action)) this.#actions[action]();
    else if (!this.#habits.act(action)) this.#active.act(action);
  }

  #onKey(event) {
    const action = shortcut(event);
    if (action === null || action === "paste" || isAsking()) return; // the browser turns the keys into a paste event
    event.preventDefault();
    if (action === "tab") this.#showNumber(tabNumber(event));
    else if (!event.repeat || REPEATED.has(action)) this.#act(action);
  }

  /** The keyboard or the mouse went into a pane. */
  #onTouched(target) {
    const element = target.closest(".pane");
    const pane = this.#panes.find((candidate) => candidate.element === element);
    if (pane === undefined || pane === this.#active) return;
    this.#shown.active = pane;
    this.#markActive();
    this.#refresh();
  }

  #showNumber(number) {
    const tab = this.#tabs[number - 1];
    if (tab !== undefined) this.#show(tab);
  }

  #move(direction) {
    const pane = this.#shown.beside(direction);
    if (pane !== null) this.#activate(pane);
  }

  async #open() {
    const pane = await this.#choose("Open another terminal");
    if (pane === null) return;
    this.#show(this.#addTab([pane], "0", pane));
    begin(pane);
  }

  async #split(axis) {
    const [tab, beside] = [this.#shown, this.#active];
    const pane = await this.#choose(axis === "row" ? "Split to the right" : "Split downwards");
    if (pane === null) return;
    if (!tab.panes.includes(beside)) return;
    tab.split(beside, axis, pane);
    this.#show(tab);
    begin(pane);
  }

  /** Resolves to a new pane; or to null, where none is wanted or one that is there was chosen, which is then shown. */
  async #choose(title) {
    const { host, login } = this.#active;
    const choice = await this.#chooser.choose({ title, place: { host, login }, panes: this.#panes });
    if (choice?.kind === "shown" && this.#panes.includes(choice.pane)) {
      this.#activate(choice.pane);
      return null;
    }
    this.#active.focus();
    if (choice === null || choice.kind === "shown") return null;
    if (this.#panes.length < MOST_PANES) return this.#newPane(choice);
    this.#active.note(`A page has room for ${MOST_PANES} terminals. Close one, or open another browser tab.`);
    return null;
  }

  /** Closes panes, after a question where shells run in them. */
  async #close(panes) {
    this.#active.focus(); // the dialog gives the keyboard back to it, as in Bar
    const running = panes.filter((pane) => pane.hasShell);
    const answer = running.length === 0 ? "keep" : await askToEnd(running);
    if (answer !== "end" && answer !== "keep") {
      this.#active.focus();
      return;
    }
    const outcomes = await Promise.all(panes.map((pane) => (answer === "end" ? pane.endShell() : true)));
    this.#remove(panes.filter((pane, at) => outcomes[at] && this.#panes.includes(pane)));
  }

  #remove(panes) {
    if (panes.length === this.#panes.length) {
      location.assign(document.body.dataset.hostsUrl);
      return;
    }
    const at = this.#tabs.indexOf(this.#shown);
    for (const pane of panes) {
      this.#tabOf(pane).remove(pane);
      pane.close();
    }
    for (const tab of this.#tabs.filter(({ active }) => active === null)) tab.close();
    this.#tabs = this.#tabs.filter(({ active }) => active !== null);
    this.#show(this.#tabs.includes(this.#shown) ? this.#shown : this.#tabs[Math.min(at, this.#tabs.length - 1)]);
  }

  async #toggleBroadcast() {
    const refusal = await this.#broadcast.toggle(this.#shown);
    this.#refresh();
    if (refusal !== "") this.#active.note(refusal);
    this.#active.focus();
  }

  async #toggleFullScreen() {
    const isDone = await toggleFullScreen();
    if (!isDone) this.#active.note("The browser did not let this page use the full screen.");
    this.#active.focus();
  }

  async #andFocus(done) {
    await done;
    this.#active.focus();
  }
}

function begin(pane) {
  pane.open();
  pane.start();
}

// One terminal in the page: its element, the emulator and the socket, put together. Knows no other pane.

import { putIntoClipboard } from "./clipboard.js";
import { Company } from "./company.js";
import { describeEnding, describeProblem, describeWait } from "./ends.js";
import { FindBox } from "./find.js";
import { PaneFrame } from "./frame.js";
import { HostWatch } from "./hostwatch.js";
import { inspectPaste, pasteInput } from "./paste.js";
import { PasteProgress } from "./pasting.js";
import { Screen } from "./screen.js";
import { TerminalSocket } from "./socket.js";
import { cleanPaste } from "./text.js";
import { formatBytes } from "./units.js";
import { Banner } from "./waiting.js";

const CTRL_C = 0x03;

let count = 0;

const GAP_REASONS = {
  ring: "the broker does not keep output that old",
  interrupt: "interrupted",
  slow: "this browser was too slow",
};

/**
 * `page` is what surrounds it: `api` (Api, or what has the same of it that the pane needs), `habits` (Habits),
 * sharing(session) (the Sharing of one), `offers` (what can be done at the end; absent: everything), changed(pane) (state, session, title or latency differ),
 * printed(pane) (new output came) and rang(pane) (its bell); and said by a person: typed(pane, bytes), pasted(pane, text)
 * (also what was written elsewhere), followLink(url) (asks first), toggled(pane) (its tick for typing along), close(pane)
 * and leave(pane) ("Back to hosts").
 */
export class Pane {
  /** Unlike that of any other pane of the page. */
  id = `pane-${(count += 1)}`;
  element;
  title = "";
  latency = null;
  #place;
  #page;
  #session;
  #isActive = false;
  #isClosed = false;
  #frame;
  #company;
  #role;
  #screen;
  #find;
  #pasteProgress;
  #hasToldOfOffers = false;
  #socket = null;
  #banner;
  #watch = null;

  #actions = {
    find: () => this.#find.open(),
    copy: () => this.#andFocus(this.#screen.copy()),
    paste: () => this.#andFocus(this.#screen.pasteFromClipboard()),
    cancelPaste: () => this.#andFocus(this.#cancelPaste()),
    stay: () => this.#andFocus(this.#socket?.stay()),
    retryNow: () => this.#andFocus(this.#socket?.retryNow()),
    again: () => this.#openAgain(),
    retry: () => this.start(),
    reload: () => location.reload(), // with a fresh CSRF token, in case the login has changed
    reconnect: () => this.#andFocus(this.#socket.takeBack()),
    takeBack: () => this.#andFocus(this.#socket.takeBack()),
    login: () => location.reload(), // leads to the login page, and back here
    confirm: () => location.assign(`/account/confirm/?next=${encodeURIComponent(location.pathname + location.search)}`),
    back: () => this.#page.leave(this),
    closePane: () => this.#page.close(this),
    people: () => this.#openPeople(),
    say: () => this.#company.write(),
    keyboard: () => this.#andFocus(this.#company.turn()),
  };

  /**
   * `place` is {host, login, isForeign}, the last where the terminal is somebody else's; `session` the id of one to attach to, or null to open one at `start`. `role`: what is asked
   * for, "watcher" by those whose terminal it is not.
   */
  constructor({ place, session, page, role = "driver" }) {
    this.#place = place;
    this.#session = session;
    this.#page = page;
    this.#role = role;
    this.element = document.getElementById("pane").content.firstElementChild.cloneNode(true);
    this.element.dataset.host = place.host;
    this.element.dataset.login = place.login;
    this.element.addEventListener("click", (event) => {
      const action = event.target.closest("[data-action]")?.dataset.action;
      if (action) this.act(action);
    });
    this.element.querySelector(".receives").addEventListener("change", () => this.#page.toggled(this));
    this.#frame = new PaneFrame(this.element, place);
    this.#banner = new Banner(this.element.querySelector(".banner"));
    this.#company = new Company(this.element, {
      place,
      sharing: () => (this.state === "live" ? this.#page.sharing(this.#session) : null),
      askRole: (role) => this.#socket?.askRole(role),
      note: (text) => this.note(text),
      focus: () => this.focus(),
    });
  }

  get host() {
    return this.#place.host;
  }

  get login() {
    return this.#place.login;
  }

  /** The id of its terminal session, or null while there is none. */
  get session() {
    return this.#session;
  }

  /** "connecting", "live", "reconnecting" or "ended". */
  get state() {
    return this.element.dataset.state;
  }

  /** Whether its shell may still run, so that closing it is worth a question. */
  get hasShell() {
    return this.#session !== null && this.state !== "ended";
  }

  /** Whether what is typed goes to the host. */
  get isDriving() {
    return this.state === "live" && this.#socket.role === "driver";
  }

  /** Whether a person lets it take what is typed into others. */
  get receives() {
    return this.element.querySelector(".receives").checked;
  }

  set receives(isWanted) {
    this.element.querySelector(".receives").checked = isWanted;
  }

  /** The visible text. */
  text() {
    return this.#screen.text();
  }

  /** Puts the emulator into the element, which must be in the document by now and have a size. */
  open() {
    const { preferences, modifiers } = this.#page.habits;
    this.#screen = new Screen(this.element.querySelector(".screen"), {
      preferences,
      modifiers,
      events: {
        input: (bytes, isTyped) => this.#onInput(bytes, isTyped),
        paste: (text) => this.#paste(text),
        resized: () => this.#socket?.resize(),
        titled: (text) => this.#onTitled(text),
        link: (url) => this.#page.followLink(url),
        bell: () => this.#onBell(),
        offered: (text) => this.#onOffered(text),
        note: (text) => this.note(text),
      },
    });
    this.#pasteProgress = new PasteProgress(this.element.querySelector(".pasting"));
    this.#find = new FindBox(this.element.querySelector(".find"), {
      search: this.#screen.search,
      theme: () => preferences.values.theme,
      onClosed: () => this.#screen.focus(),
    });
  }

  /** Attaches to its session, else opens one. What is typed meanwhile goes to it. */
  start() {
    if (this.#socket !== null) {
      this.#socket.close();
      this.#screen.clear();
      this.#pasteProgress.end();
    }
    this.#onState("connecting");
    this.#socket = new TerminalSocket({
      takeTicket: (role) => this.#takeTicket(role),
      size: () => this.#screen.size,
      events: this.#socketEvents,
      isNew: this.#session === null,
      role: this.#role,
    });
    this.#socket.connect();
    this.focus();
  }

  /** Does what a button or a shortcut of the terminal asks; false for a name that it does not know. */
  act(name) {
    if (!Object.hasOwn(this.#actions, name)) return false;
    this.#actions[name]();
    return true;
  }

  setActive(isActive) {
    this.#isActive = isActive;
    this.element.toggleAttribute("data-active", isActive);
  }

  /** Gives the keyboard to the terminal, or where it has ended to what can be done about that. */
  focus() {
    if (this.#isActive && !this.#frame.focusPanel()) this.#screen?.focus();
  }

  /** Types text, or a cursor key by its letter ("A" is up). */
  type(text) {
    this.#screen.type(text);
  }

  typeCursorKey(letter) {
    this.#screen.typeCursorKey(letter);
  }

  /** Text that was written elsewhere and is known to the person: a line is typed, more than one is pasted. */
  typeText(text, { withEnter }) {
    if (/[\r\n]/.test(text)) {
      this.insert(text);
      this.#page.pasted(this, text);
    } else if (text !== "") {
      this.type(cleanPaste(text));
    }
    if (withEnter) this.type("\r");
  }

  /** Pastes without a question. */
  insert(text) {
    if (this.state === "ended" || this.#isWatching) return;
    const { bytes, closing } = pasteInput(text, this.#screen.isBracketed);
    this.#screen.scrollToEnd();
    this.#pasteProgress.add(bytes.length);
    this.#socket.send(bytes, { closing });
    this.#pasteProgress.update(this.#socket.waiting);
  }

  /** What was typed into another pane. */
  receive(bytes) {
    this.#send(this.#screen.asTyped(bytes));
  }

  note(text) {
    this.#frame.note(text);
  }

  /** What "Back to hosts" says: with other panes around, it only closes this one. */
  nameBack(text) {
    this.#frame.nameBack(text);
  }

  /** Ends its shell; resolves to whether that worked. Where it did not, the pane goes on as before. */
  async endShell() {
    if (!this.hasShell) return true;
    this.#socket.close();
    try {
      await this.#page.api.endSession(this.#session);
    } catch (problem) {
      this.start();
      this.note(`The shell goes on. ${problem.message}`);
      return false;
    }
    return true;
  }

  /** Goes away with its element. The shell lives on at the broker; one that is about to open is ended. */
  close() {
    this.#isClosed = true;
    this.#socket?.close();
    this.#banner.clear();
    this.#watch?.stop();
    this.#screen?.dispose();
    this.element.remove();
  }

  /** The network or the page came back. */
  wake() {
    this.#socket?.wake();
  }

  async #takeTicket(role) {
    if (this.#session !== null) return this.#page.api.takeTicket(this.#session, role);
    const opened = await this.#page.api.openSession(this.host, this.login, this.#screen.size);
    if (this.#isClosed) this.#page.api.endSession(opened.id).catch(() => {}); // nobody is left to tell: its grace ends it
    else this.#nameSession(opened.id);
    return opened;
  }

  #openAgain() {
    this.#nameSession(null);
    this.start();
  }

  #nameSession(id) {
    this.#session = id;
    this.#page.changed(this);
  }

  #socketEvents = {
    state: (state) => this.#onState(state),
    attached: (message) => {
      this.#company.attached(message);
      this.#onRole(message.role);
    },
    role: (role) => this.#onRole(role),
    viewers: (message) => this.#company.take(message),
    output: (bytes, parsed) => this.#onOutput(bytes, parsed),
    gap: ({ from, to, reason }, parsed) =>
      this.#screen.mark(`${formatBytes(to - from)} of output left out: ${GAP_REASONS[reason] ?? reason}`, parsed),
    screen: (sequence, parsed) => this.#screen.write(sequence, parsed),
    restarted: () => this.#screen.clear(),
    resized: (size, parsed) => this.#screen.takeSize(size, { isForeign: () => this.#isWatching, parsed }),
    notice: (text) => this.note(text),
    latency: (latency) => this.#onLatency(latency),
    limit: (limit) => this.#banner.limit(limit),
    input: ({ waiting }) => this.#pasteProgress.update(waiting),
    refused: () => this.#onRefused(),
    dropped: (count) => this.#onDropped(count),
    ended: (ending) => this.#showEnd(describeEnding(ending, this.#place)),
    failed: (problem) => this.#showEnd(describeProblem(problem, { ...this.#socket.attempt, ...this.#place })),
  };

  #onState(state) {
    this.#frame.setState(state);
    if (state === "ended") this.#pasteProgress.end();
    if (state === "reconnecting") this.#banner.reconnecting(this.#socket.loss);
    else this.#banner.clear();
    if (state !== "ended") this.#watch?.stop();
    if (state === "live") this.#page.changed(this);
    else this.#onNotLive();
  }

  #onNotLive() {
    this.#company.clear();
    this.#onLatency(null);
  }

  get #isWatching() {
    return this.#socket?.role === "watcher";
  }

  #onRole(role) {
    this.element.dataset.role = role;
    if (role === "driver") this.#screen.takeOwnSize();
    else this.#pasteProgress.end();
    this.#page.changed(this);
  }

  #onOutput(bytes, parsed) {
    this.#screen.write(bytes, parsed);
    if (!this.#socket.isReplaying) this.#page.printed(this);
  }

  #onTitled(text) {
    this.title = text;
    this.#page.changed(this);
  }

  #onLatency(latency) {
    this.latency = latency;
    this.#frame.showLatency(latency);
    this.#page.changed(this);
  }

  #showEnd(words) {
    const { offers } = this.#page;
    this.#frame.showPanel(offers ? { ...words, offers: words.offers.filter((offer) => offers.includes(offer)) } : words);
    if (words.mayReturn && !this.#place.isForeign) this.#watchHost(words);
    this.focus();
  }

  #watchHost({ isLost = false }) {
    this.#watch?.stop();
    this.#watch = new HostWatch({
      ask: () => this.#page.api.host(this.host),
      answered: (outcome) => this.#frame.showWait(describeWait(outcome, this.#place)),
    });
    if (isLost) this.#frame.showWait(describeWait("offline", this.#place));
    this.#watch.start({ isLost });
  }

  #onInput(bytes, isTyped) {
    if (!isTyped && this.#socket.isReplaying) return;
    if (this.#isWatching) {
      if (isTyped && this.state === "live") this.note(this.#company.hint);
      return;
    }
    this.#send(bytes);
    if (isTyped) this.#page.typed(this, bytes);
  }

  #send(bytes) {
    if (bytes.length === 1 && bytes[0] === CTRL_C) this.#socket.interrupt();
    else this.#socket.send(bytes);
    this.#banner.typed();
  }

  #onDropped(count) {
    this.#pasteProgress.end();
    this.note(`${formatBytes(count)} of input did not go to the host.`);
  }

  #onRefused() {
    this.#pasteProgress.end();
    if (this.state === "live") this.note("The paste is too large: nothing of it was sent.");
    else this.note("Not connected, and no more than 64 KiB of input are kept: this was not taken.");
  }

  /** The clipboard, as it is: shown first where it is more than a line. */
  async #paste(raw) {
    if (this.#isWatching) {
      this.note(this.#company.hint);
      return;
    }
    const paste = inspectPaste(raw, this.#screen.isBracketed);
    const isAgreed = paste.text === "" || (await this.#page.habits.agreesToPaste(paste, raw, this.host));
    if (isAgreed && paste.text !== "") {
      this.insert(paste.text);
      this.#page.pasted(this, paste.text);
    }
    if (isAgreed && paste.leftOut > 0) this.note("Control characters were left out of the pasted text.");
    this.focus();
  }

  /** As it closes, the dialog gives the keyboard back to whom it took it from: that be the terminal, not a button. */
  #openPeople() {
    this.focus();
    this.#company.open();
  }

  #cancelPaste() {
    this.#pasteProgress.end();
    this.#socket.dropUnsent();
  }

  #onBell() {
    if (this.#socket.isReplaying) return;
    this.#page.habits.ring(this);
    this.#page.rang(this);
  }

  /** A program wants text in the clipboard (OSC 52). What it wanted a while ago is not done again. */
  async #onOffered(text) {
    if (this.#socket.isReplaying) return;
    if (!this.#page.habits.preferences.values.clipboard_write) {
      const words = `A program on ${this.host} wanted to fill the clipboard. The settings can allow that.`;
      if (!this.#hasToldOfOffers) this.note(words);
      this.#hasToldOfOffers = true;
    } else if (await putIntoClipboard(text)) {
      const count = Array.from(text).length;
      this.note(`${this.host} put ${count} ${count === 1 ? "character" : "characters"} into the clipboard.`);
    } else {
      this.note(`${this.host} wanted to fill the clipboard, but the browser did not let it.`);
    }
  }

  async #andFocus(done) {
    await done;
    this.focus();
  }
}

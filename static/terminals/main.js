// The terminal page: puts frame, screen and socket together, and opens terminal sessions or attaches to them again.

import { Api } from "./api.js";
import { allowTerminalStyles } from "./csp.js";
import { FindBox } from "./find.js";
import { Frame } from "./frame.js";
import { describeEnding, describeProblem } from "./protocol.js";
import { Screen, shortcut } from "./screen.js";
import { TerminalSocket } from "./socket.js";

const CTRL_C = 0x03;

const GAP_REASONS = {
  ring: "the broker does not keep output that old",
  interrupt: "dropped by the interrupt",
  slow: "this browser was too slow",
};

class TerminalPage {
  #place = { host: document.body.dataset.host, login: document.body.dataset.login };
  #api = new Api(document.body.dataset.api, document.querySelector("meta[name=csrf-token]").content);
  #frame = new Frame(this.#place.host, (action) => this.#actions[action]?.());
  #screen = new Screen(document.getElementById("screen"), {
    input: (bytes, isTyped) => this.#onInput(bytes, isTyped),
    resized: () => this.#socket?.resize(),
    titled: (text) => this.#frame.setTitle(text),
    link: (url) => this.#followLink(url),
    note: (text) => this.#frame.note(text),
  });
  #find = new FindBox(document.getElementById("find"), this.#screen.search, () => this.#screen.focus());
  #socket = null;

  #actions = {
    find: () => this.#find.open(),
    copy: () => this.#andFocus(this.#screen.copy()),
    paste: () => this.#andFocus(this.#screen.pasteFromClipboard()),
    smaller: () => this.#andFocus(this.#screen.changeFontSize(-1)),
    larger: () => this.#andFocus(this.#screen.changeFontSize(1)),
    reader: () => this.#andFocus(this.#toggleReader()),
    fullscreen: () => this.#andFocus(this.#frame.toggleFullScreen()),
    retryNow: () => this.#andFocus(this.#socket?.retryNow()),
    again: () => this.#openAgain(),
    retry: () => this.start(),
    reload: () => location.reload(), // with a fresh CSRF token, in case the login has changed
    reconnect: () => this.#andFocus(this.#socket.takeBack()),
    takeBack: () => this.#andFocus(this.#socket.takeBack()),
    login: () => location.reload(), // leads to the login page, and back here
    back: () => location.assign(document.body.dataset.hostsUrl),
  };

  constructor() {
    this.#frame.setPressed("reader", this.#screen.isReadAloud);
    document.addEventListener("keydown", (event) => this.#onKey(event));
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#socket?.wake();
    });
    window.addEventListener("online", () => this.#socket?.wake());
    // For tests, and for screen readers' scripts: the visible text.
    window.brokerdScreen = Object.freeze({ text: () => this.#screen.text() });
  }

  /** Attaches to the session that the address names, else opens one. What is typed meanwhile goes to it. */
  start() {
    if (this.#socket !== null) {
      this.#socket.close();
      this.#screen.clear();
    }
    this.#frame.setState("connecting");
    this.#socket = new TerminalSocket({
      takeTicket: () => this.#takeTicket(),
      size: () => this.#screen.size,
      events: this.#socketEvents,
      isNew: namedSession() === null,
    });
    this.#socket.connect();
    this.#screen.focus();
  }

  async #takeTicket() {
    const session = namedSession();
    if (session !== null) return this.#api.takeTicket(session);
    const opened = await this.#api.openSession(this.#place.host, this.#place.login, this.#screen.size);
    nameSession(opened.id);
    return opened;
  }

  #openAgain() {
    nameSession(null);
    this.start();
  }

  #socketEvents = {
    state: (state) => this.#onState(state),
    attached: ({ role, cols, rows }) => {
      if (role === "watcher") this.#screen.takeSize({ cols, rows });
    },
    output: (bytes, parsed) => this.#screen.write(bytes, parsed),
    gap: ({ from, to, reason }, parsed) =>
      this.#screen.mark(`${formatBytes(to - from)} of output left out: ${GAP_REASONS[reason] ?? reason}`, parsed),
    restarted: () => this.#screen.clear(),
    resized: (size) => this.#screen.takeSize(size),
    notice: (text) => this.#frame.note(text),
    latency: (latency) => this.#frame.showLatency(latency),
    refused: () => this.#onRefused(),
    dropped: (count) => this.#frame.note(`${formatBytes(count)} of input did not go to the host.`),
    ended: (ending) => this.#frame.showPanel(describeEnding(ending, this.#place)),
    failed: (problem) => this.#frame.showPanel(describeProblem(problem, namedSession() !== null)),
  };

  #onState(state) {
    this.#frame.setState(state);
    if (state === "reconnecting") this.#frame.setBanner("Reconnecting…");
  }

  #onInput(bytes, isTyped) {
    if (!isTyped && this.#socket.isReplaying) return;
    this.#socket.send(bytes, { isInterrupt: bytes.length === 1 && bytes[0] === CTRL_C });
    if (isTyped && this.#socket.state === "reconnecting") {
      this.#frame.setBanner("Reconnecting… What you type is kept.");
    }
  }

  #onRefused() {
    if (this.#socket.state === "live") this.#frame.note("The paste is too large: nothing of it was sent.");
    else this.#frame.note("Not connected, and no more than 64 KiB of input are kept: this was not taken.");
  }

  #onKey(event) {
    if (event.key === "Escape" && event.target.closest("#bar")) this.#screen.focus();
    const action = shortcut(event);
    if (action === null || action === "paste") return; // the browser turns the keys into a paste event
    event.preventDefault();
    if (action === "leave") this.#frame.focusBar();
    else this.#actions[action]();
  }

  async #followLink(url) {
    const isAgreed = await this.#frame.confirmLink(url);
    if (isAgreed) window.open(url.href, "_blank", "noopener,noreferrer");
    this.#screen.focus();
  }

  #toggleReader() {
    this.#screen.toggleReader();
    this.#frame.setPressed("reader", this.#screen.isReadAloud);
  }

  async #andFocus(done) {
    await done;
    this.#screen.focus();
  }
}

/** The session that the address names, or null. */
function namedSession() {
  return new URLSearchParams(location.search).get("session") || null;
}

/** Puts the session into the address, so that a reload attaches to the same shell; null takes it out. */
function nameSession(session) {
  const url = new URL(location.href);
  if (session === null) url.searchParams.delete("session");
  else url.searchParams.set("session", session);
  history.replaceState(null, "", url);
}

function formatBytes(count) {
  if (count < 1024) return `${count} ${count === 1 ? "byte" : "bytes"}`;
  const kib = count / 1024;
  return kib < 1024 ? `${Math.round(kib)} KiB` : `${(kib / 1024).toFixed(1)} MiB`;
}

allowTerminalStyles();
new TerminalPage().start();

// The terminal emulator and what surrounds it in the window: size, clipboard, links, titles. Knows no websocket.

import { Terminal } from "../vendor/xterm.mjs";
import { FitAddon } from "../vendor/addon-fit.mjs";
import { SearchAddon } from "../vendor/addon-search.mjs";
import { Unicode11Addon } from "../vendor/addon-unicode11.mjs";
import { WebLinksAddon } from "../vendor/addon-web-links.mjs";
import { WebglAddon } from "../vendor/addon-webgl.mjs";
import { cleanPaste, cleanTitle, webLink } from "./text.js";
import { followTheme } from "./theme.js";

const SCROLLBACK_LINES = 10_000;
/** Most columns or rows that the broker takes. */
const MAX_SIZE = 1000;
const FONT_PX = { least: 8, usual: 14, most: 32 };
const FONT_KEY = "brokerd.terminal.font";
const READER_KEY = "brokerd.terminal.reader";
const FONT_FAMILY = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace";

// CAN ends a control sequence that was cut off in the middle.
const CAN = "\x18";
const FULL_RESET = `${CAN}\x1bc`;

const encoder = new TextEncoder();

/**
 * `events`: input(bytes, isTyped), resized(), titled(text), link(url), note(text). `isTyped` is false for what the
 * emulator says by itself (replies to queries, focus reports).
 */
export class Screen {
  #terminal;
  #container;
  #events;
  #fit = new FitAddon();
  #isTyped = false;
  #fitFrame = 0;

  constructor(container, events) {
    this.#container = container;
    this.#events = events;
    this.search = new SearchAddon();
    this.#terminal = new Terminal({
      allowProposedApi: true, // unicode versions and search decorations
      cursorBlink: false,
      fontFamily: FONT_FAMILY,
      fontSize: readSetting(FONT_KEY, FONT_PX.usual),
      linkHandler: { activate: (_event, text) => this.#follow(text) }, // OSC 8
      macOptionIsMeta: true,
      screenReaderMode: readSetting(READER_KEY, 0) === 1,
      scrollback: SCROLLBACK_LINES,
    });
    this.#open();
    this.#listen();
  }

  get size() {
    return { cols: this.#terminal.cols, rows: this.#terminal.rows };
  }

  get isReadAloud() {
    return this.#terminal.options.screenReaderMode;
  }

  /** Program output; `parsed` is called when the emulator is through with it. */
  write(bytes, parsed) {
    // The emulator parses in timeouts, which a hidden tab gets once a second and later once a minute: acks would hold
    // the host's program back. After input it parses the next write at once, so say (not publicly) that there was some.
    if (document.hidden) this.#terminal._core._writeBuffer?.handleUserInput();
    this.#terminal.write(bytes, parsed);
  }

  /** A line of ours amid the output, in order with it. */
  mark(text, parsed) {
    this.#terminal.write(`${CAN}\x1b[0m\r\n\x1b[2;7m ${text} \x1b[0m\r\n`, parsed);
  }

  /** Clears screen, scrollback and modes, in order with the output. */
  clear() {
    this.#terminal.write(FULL_RESET);
    this.#events.titled("");
  }

  /** Takes the size of a terminal that somebody else drives. */
  takeSize({ cols, rows }) {
    this.#terminal.resize(cols, rows);
  }

  fit() {
    this.#fit.fit();
    const { cols, rows } = this.#terminal;
    if (cols > MAX_SIZE || rows > MAX_SIZE) this.#terminal.resize(Math.min(cols, MAX_SIZE), Math.min(rows, MAX_SIZE));
  }

  focus() {
    this.#terminal.focus();
  }

  /** The visible text, for tests and screen readers. */
  text() {
    const { buffer, rows } = this.#terminal;
    const lines = Array.from({ length: rows }, (_, row) =>
      buffer.active.getLine(buffer.active.viewportY + row)?.translateToString(true),
    );
    return lines.join("\n");
  }

  async copy() {
    const text = this.#terminal.getSelection();
    if (text === "") {
      this.#events.note("Nothing is selected. Drag over text to select it.");
      return;
    }
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Plain http has no clipboard API; xterm.js answers the copy event of its text area.
      this.focus();
      if (!document.execCommand("copy")) this.#events.note("The browser did not let this page copy.");
    }
  }

  async pasteFromClipboard() {
    try {
      this.paste(await navigator.clipboard.readText());
    } catch {
      this.#events.note("The browser does not let this page read the clipboard. Press Ctrl+Shift+V instead.");
    }
  }

  /** Pastes as if typed, bracketed where the program asked for it; control characters are left out. */
  paste(text) {
    const clean = cleanPaste(text);
    if (clean !== "") this.#terminal.paste(clean);
    if (clean.length < text.length) this.#events.note("Control characters were left out of the pasted text.");
  }

  changeFontSize(step) {
    const size = Math.min(FONT_PX.most, Math.max(FONT_PX.least, this.#terminal.options.fontSize + step));
    this.#terminal.options.fontSize = size;
    writeSetting(FONT_KEY, size);
    this.fit();
  }

  toggleReader() {
    this.#terminal.options.screenReaderMode = !this.isReadAloud;
    writeSetting(READER_KEY, this.isReadAloud ? 1 : 0);
  }

  #open() {
    const terminal = this.#terminal;
    terminal.loadAddon(this.#fit);
    terminal.loadAddon(this.search);
    terminal.loadAddon(new Unicode11Addon());
    terminal.loadAddon(new WebLinksAddon((_event, text) => this.#follow(text)));
    terminal.unicode.activeVersion = "11";
    followTheme(terminal);
    terminal.open(this.#container);
    this.#useGpu();
    this.fit();
  }

  #listen() {
    const terminal = this.#terminal;
    // Fires right before onData for what a person did. Not public, as the fit add-on's source of cell sizes; without
    // it everything would count as said by the emulator, and only keys pressed during a replay would be lost.
    terminal._core.coreService?.onUserInput(() => {
      this.#isTyped = true;
    });
    terminal.onData((text) => this.#emit(encoder.encode(text)));
    terminal.onBinary((text) => this.#emit(Uint8Array.from(text, (character) => character.charCodeAt(0))));
    terminal.onResize(() => this.#events.resized());
    terminal.onTitleChange((text) => this.#events.titled(cleanTitle(text)));
    terminal.attachCustomKeyEventHandler((event) => shortcut(event) === null);
    this.#container.addEventListener("paste", (event) => this.#onPaste(event), { capture: true });
    new ResizeObserver(() => this.#fitSoon()).observe(this.#container);
  }

  #emit(bytes) {
    const isTyped = this.#isTyped;
    this.#isTyped = false;
    this.#events.input(bytes, isTyped);
  }

  #onPaste(event) {
    event.preventDefault();
    event.stopPropagation();
    this.paste(event.clipboardData?.getData("text/plain") ?? "");
  }

  #fitSoon() {
    cancelAnimationFrame(this.#fitFrame);
    this.#fitFrame = requestAnimationFrame(() => this.fit());
  }

  #follow(text) {
    const url = webLink(text);
    if (url !== null) this.#events.link(url);
  }

  #useGpu() {
    try {
      const webgl = new WebglAddon();
      webgl.onContextLoss(() => webgl.dispose());
      this.#terminal.loadAddon(webgl);
    } catch {
      // No WebGL 2 here: the DOM renderer stays.
    }
  }
}

/** What a key press asks of the page instead of the shell: "find", "copy", "paste", "leave" or null. */
export function shortcut(event) {
  const isMac = navigator.platform.startsWith("Mac");
  if (event.ctrlKey && event.shiftKey && !event.altKey && event.key === "F6") return "leave";
  const isOurs = (event.ctrlKey && event.shiftKey && !event.altKey && !event.metaKey) || (isMac && event.metaKey && !event.ctrlKey);
  if (!isOurs) return null;
  const letter = /^[a-z]$/i.test(event.key) ? event.key.toLowerCase() : event.code.replace("Key", "").toLowerCase();
  return { f: "find", c: "copy", v: "paste" }[letter] ?? null;
}

function readSetting(key, otherwise) {
  try {
    const value = Number.parseInt(localStorage.getItem(key) ?? "", 10);
    return Number.isNaN(value) ? otherwise : value;
  } catch {
    return otherwise; // storage is blocked
  }
}

function writeSetting(key, value) {
  try {
    localStorage.setItem(key, String(value));
  } catch {
    // Storage is blocked: the setting lasts as long as the page.
  }
}

// The terminal emulator and what surrounds it in the window: size, looks, clipboard, links, titles. Knows no websocket.

import { Terminal } from "../vendor/xterm.mjs";
import { FitAddon } from "../vendor/addon-fit.mjs";
import { SearchAddon } from "../vendor/addon-search.mjs";
import { Unicode11Addon } from "../vendor/addon-unicode11.mjs";
import { WebLinksAddon } from "../vendor/addon-web-links.mjs";
import { parseOsc52, putIntoClipboard } from "./clipboard.js";
import { drawWithGpu } from "./gpu.js";
import { boundCounts, clearForOtherColumns, onUserInput, parseNextWriteAtOnce } from "./internals.js";
import { shortcut } from "./keys.js";
import { letterbox } from "./letterbox.js";
import { cleanTitle, webLink } from "./text.js";
import { followColourScheme, reversed, themeOptions } from "./theme.js";
import { inCursorMode } from "./typed.js";

/** Most columns or rows that the broker takes. */
const MAX_SIZE = 1000;
const FONT_FAMILY = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace";

// CAN ends a control sequence that was cut off in the middle.
const CAN = "\x18";
const FULL_RESET = `${CAN}\x1bc`;

// Modes of the VT100 and of xterm (DECCOLM, DECSCNM, "allow 80 and 132 columns") that xterm.js does not know.
const COLUMNS_132 = 3;
const REVERSE_VIDEO = 5;
const MAY_CHANGE_COLUMNS = 40;

const encoder = new TextEncoder();

/**
 * `events`: input(bytes, isTyped), paste(text), resized(), titled(text), link(url), bell(), offered(text) (a program
 * wants it in the clipboard), note(text). `isTyped` is false for what the emulator says by itself (replies to queries,
 * focus reports). `paste` has the clipboard's text as it is.
 */
export class Screen {
  #terminal;
  #container;
  #events;
  #modifiers;
  #fit = new FitAddon();
  #isTyped = false;
  #composed = "";
  #isSelecting = false;
  #copiesOnSelect = false;
  #theme = "auto";
  #isReversed = false;
  #mayChangeColumns = false;
  #fitFrame = 0;
  #fontPx = 0;
  #foreignSize = null;
  #endings = [];

  /** `preferences` are followed; `modifiers` may change what is typed (the keys of touch screens). */
  constructor(container, { preferences, modifiers, events }) {
    this.#container = container;
    this.#events = events;
    this.#modifiers = modifiers;
    this.search = new SearchAddon();
    this.#terminal = new Terminal({
      allowProposedApi: true, // unicode versions and search decorations
      linkHandler: { activate: (_event, text) => this.#follow(text) }, // OSC 8
      macOptionIsMeta: true,
    });
    this.#endings.push(preferences.follow((values) => this.#take(values)));
    this.#open();
    this.#listen();
  }

  get size() {
    return { cols: this.#terminal.cols, rows: this.#terminal.rows };
  }

  /** Whether the program asked for pastes to be told from what is typed. */
  get isBracketed() {
    return this.#terminal.modes.bracketedPasteMode;
  }

  /** Program output, or sequences of the broker; `parsed` is called when the emulator is through with it. */
  write(bytes, parsed) {
    if (document.hidden) parseNextWriteAtOnce(this.#terminal);
    this.#terminal.write(bytes, parsed);
  }

  /** A line of ours amid the output, in order with it, readable whatever colours and characters a program has chosen. */
  mark(text, parsed) {
    this.#terminal.write(`${CAN}\x0f\x1b(B\x1b[0m\r\n\x1b[2m⋯ ${text} ⋯\x1b[0m\r\n`, parsed);
  }

  /** Clears screen, scrollback and modes, in order with the output. */
  clear() {
    this.#terminal.write(FULL_RESET);
    this.#events.titled("");
  }

  /**
   * Takes the size of a terminal that somebody else drives, once what was written before is parsed, and if `isForeign()`
   * says then that it still is somebody else's. It is shown whole, in smaller letters where the window is too small for it.
   */
  takeSize({ cols, rows }, { isForeign, parsed }) {
    this.#terminal.write("", () => {
      if (isForeign()) {
        this.#foreignSize = { cols, rows };
        this.fit();
      }
      parsed();
    });
  }

  /** Fills the window again. */
  takeOwnSize() {
    if (this.#foreignSize === null) return;
    this.#foreignSize = null;
    this.#container.removeAttribute("data-boxed");
    this.#terminal.options.fontSize = this.#fontPx;
    this.fit();
  }

  fit() {
    if (this.#foreignSize === null) this.#fill();
    else letterbox(this.#terminal, this.#container, { ...this.#foreignSize, fontPx: this.#fontPx });
  }

  #fill() {
    this.#fit.fit();
    const { cols, rows } = this.#terminal;
    if (cols > MAX_SIZE || rows > MAX_SIZE) this.#terminal.resize(Math.min(cols, MAX_SIZE), Math.min(rows, MAX_SIZE));
  }

  focus() {
    this.#terminal.focus();
  }

  /** Types text as a keyboard would. */
  type(text) {
    this.#terminal.input(text);
  }

  /** Types a cursor key by its letter ("A" is up), as the program wants it. */
  typeCursorKey(letter) {
    this.type(this.#terminal.modes.applicationCursorKeysMode ? `\x1bO${letter}` : `\x1b[${letter}`);
  }

  /** What was typed into another terminal, as this one's program wants it. */
  asTyped(bytes) {
    return inCursorMode(bytes, this.#terminal.modes.applicationCursorKeysMode);
  }

  scrollToEnd() {
    this.#terminal.scrollToBottom();
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
    if (text === "") this.#events.note("Nothing is selected. Drag over text to select it.");
    else if (!(await putIntoClipboard(text))) this.#events.note("The browser did not let this page copy.");
  }

  async pasteFromClipboard() {
    let text;
    try {
      text = await navigator.clipboard.readText();
    } catch {
      this.#events.note("The browser does not let this page read the clipboard. Press Ctrl+Shift+V instead.");
      return;
    }
    await this.#events.paste(text);
  }

  /** Ends it for good. */
  dispose() {
    cancelAnimationFrame(this.#fitFrame);
    for (const end of this.#endings) end();
    this.#terminal.dispose();
  }

  #take(values) {
    this.#copiesOnSelect = values.copy_on_select;
    this.#theme = values.theme;
    this.#fontPx = values.font_size;
    Object.assign(this.#terminal.options, {
      fontFamily: fontStack(values.font_family),
      fontSize: values.font_size,
      lineHeight: values.line_height,
      cursorStyle: values.cursor_style,
      cursorBlink: values.cursor_blink,
      scrollback: values.scrollback,
      screenReaderMode: values.screen_reader,
      ...this.#colours,
    });
    this.#fitSoon();
  }

  #open() {
    const terminal = this.#terminal;
    terminal.loadAddon(this.#fit);
    terminal.loadAddon(this.search);
    // Widths as the C libraries of hosts have them: each part of a ZWJ emoji takes two columns, which looks worse than
    // one glyph for all of them and keeps the shell's idea of the cursor.
    terminal.loadAddon(new Unicode11Addon());
    terminal.unicode.activeVersion = "11";
    terminal.loadAddon(new WebLinksAddon((_event, text) => this.#follow(text)));
    terminal.open(this.#container);
    this.#endings.push(drawWithGpu(terminal));
    this.fit();
  }

  #listen() {
    const terminal = this.#terminal;
    boundCounts(terminal);
    onUserInput(terminal, () => {
      this.#isTyped = true;
    });
    terminal.onData((text) => this.#onData(text));
    // Only reports of the mouse are binary, in its oldest encoding.
    terminal.onBinary((text) => this.#events.input(Uint8Array.from(text, (character) => character.charCodeAt(0)), true));
    terminal.onResize(() => this.#events.resized());
    terminal.onTitleChange((text) => this.#events.titled(cleanTitle(text)));
    terminal.onBell(() => this.#events.bell());
    terminal.parser.registerOscHandler(52, (data) => this.#onOsc52(data));
    terminal.parser.registerCsiHandler({ prefix: "?", final: "h" }, (modes) => this.#onModes(modes, true));
    terminal.parser.registerCsiHandler({ prefix: "?", final: "l" }, (modes) => this.#onModes(modes, false));
    terminal.parser.registerEscHandler({ final: "c" }, () => this.#onModes([REVERSE_VIDEO, MAY_CHANGE_COLUMNS], false));
    terminal.attachCustomKeyEventHandler((event) => shortcut(event) === null);
    this.#on(terminal.textarea, "compositionstart", () => {
      this.#composed = "";
    });
    this.#on(terminal.textarea, "compositionupdate", (event) => this.#onComposing(event.data));
    this.#on(this.#container, "paste", (event) => this.#onPaste(event), { capture: true });
    this.#on(this.#container, "mousedown", () => {
      this.#isSelecting = true;
    });
    this.#on(document, "mouseup", () => this.#onSelected());
    this.#endings.push(followColourScheme(() => Object.assign(terminal.options, this.#colours)));
    const observer = new ResizeObserver(() => this.#fitSoon());
    observer.observe(this.#container);
    this.#endings.push(() => observer.disconnect());
  }

  #on(target, name, listener, options) {
    target.addEventListener(name, listener, options);
    this.#endings.push(() => target.removeEventListener(name, listener, options));
  }

  #onData(text) {
    const isTyped = this.#isTyped;
    this.#isTyped = false;
    const bytes = encoder.encode(isTyped ? this.#modifiers.apply(this.#uncomposed(text)) : text);
    if (bytes.length > 0) this.#events.input(bytes, isTyped);
  }

  /** Keyboards that compose words hand them over at their end: too late for a Ctrl that was meant for a letter. */
  #onComposing(text) {
    if (!this.#modifiers.isWaiting || Array.from(text).length !== 1) return;
    this.type(text);
    this.#composed = text;
  }

  /** Without the letter that went ahead of its word. */
  #uncomposed(text) {
    const ahead = this.#composed;
    this.#composed = "";
    return ahead !== "" && text.startsWith(ahead) ? text.slice(ahead.length) : text;
  }

  #onPaste(event) {
    event.preventDefault();
    event.stopPropagation();
    this.#events.paste(event.clipboardData?.getData("text/plain") ?? "");
  }

  #onSelected() {
    const isOver = this.#isSelecting && this.#copiesOnSelect && this.#terminal.hasSelection();
    this.#isSelecting = false;
    if (isOver) this.copy();
  }

  /** Answers true: the emulator has nothing of its own for it. */
  #onOsc52(data) {
    const asked = parseOsc52(data);
    if (asked?.kind === "write") this.#events.offered(asked.text);
    return true;
  }

  /** Answers false: the emulator has the other modes. The window keeps its columns, but the screen is cleared as ever. */
  #onModes(modes, isSet) {
    if (modes.includes(MAY_CHANGE_COLUMNS)) this.#mayChangeColumns = isSet;
    if (modes.includes(COLUMNS_132) && this.#mayChangeColumns) clearForOtherColumns(this.#terminal);
    if (modes.includes(REVERSE_VIDEO) && isSet !== this.#isReversed) {
      this.#isReversed = isSet;
      Object.assign(this.#terminal.options, this.#colours);
    }
    return false;
  }

  get #colours() {
    const options = themeOptions(this.#theme);
    return this.#isReversed ? { ...options, theme: reversed(options.theme) } : options;
  }

  #fitSoon() {
    cancelAnimationFrame(this.#fitFrame);
    this.#fitFrame = requestAnimationFrame(() => this.fit());
  }

  #follow(text) {
    const url = webLink(text);
    if (url !== null) this.#events.link(url);
  }
}

/**
 * The person's fonts, separated by commas, before the usual ones. Quoted, since xterm.js puts them into a style sheet as
 * they are: nothing in them may end the rule.
 */
function fontStack(chosen) {
  const names = chosen.split(",").map((name) => name.replace(/[^\p{L}\p{N} ._+&-]/gu, "").trim());
  return [...names.filter((name) => name !== "").map((name) => `"${name}"`), FONT_FAMILY].join(", ");
}

// The emulator that shows a recording. Nothing that a recording says leaves it: no input, no replies, no clipboard, no
// links, no titles, no colours of its own. It has the recording's size and is scaled to the room that there is.

import { Terminal } from "../vendor/xterm.mjs";
import { SearchAddon } from "../vendor/addon-search.mjs";
import { Unicode11Addon } from "../vendor/addon-unicode11.mjs";
import { boundCounts } from "../terminals/internals.js";
import { followColourScheme, searchColours, themeOptions } from "../terminals/theme.js";

const MIN_COLS = 2;
const MIN_ROWS = 1;
const MAX_SIZE = 1000;
const FONT_SIZE_PX = 14;
/** Part of the window's height that it may take. */
const HEIGHT = 0.7;

// Titles, palette, links, colours, clipboard.
const INERT_OSC = [0, 1, 2, 4, 8, 10, 11, 12, 52, 104, 110, 111, 112];
// Cursor blink, mouse and focus reports, synchronized output: each would change what the page does, not what is seen.
const INERT_MODES = new Set([9, 12, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 2026]);
// A few marks make a letter; a million make the browser stand still.
const TOO_MANY_MARKS = /(\p{M}{8})\p{M}+/gu;

export class Screen {
  #terminal;
  #container;
  #holder;
  #search = new SearchAddon();

  constructor(container) {
    this.#container = container;
    this.#holder = document.createElement("div");
    this.#holder.className = "holder";
    container.append(this.#holder);
    this.#terminal = new Terminal({
      allowProposedApi: true, // unicode versions and search decorations
      disableStdin: true,
      scrollback: 0,
      // Rows are cut, not wrapped anew, when the size changes, as in the broker's snapshots: so it is with this pty.
      windowsPty: { backend: "winpty", buildNumber: 1 },
      linkHandler: { activate: () => {} },
      fontFamily: getComputedStyle(container).fontFamily,
      fontSize: FONT_SIZE_PX,
      logLevel: "off",
      ...themeOptions("auto"),
    });
    this.#silence();
    this.#terminal.loadAddon(this.#search);
    this.#terminal.loadAddon(new Unicode11Addon());
    this.#terminal.unicode.activeVersion = "11";
    this.#terminal.attachCustomKeyEventHandler(() => false); // keys are the page's
  }

  /** Shows it; the container must be seen. What was written before is drawn once, as it is by then. */
  open() {
    this.#terminal.open(this.#holder);
    this.#terminal.textarea.tabIndex = -1; // nothing is typed into it
    followColourScheme(() => Object.assign(this.#terminal.options, themeOptions("auto")));
    new ResizeObserver(() => this.fit()).observe(this.#container);
    window.addEventListener("resize", () => this.fit());
    this.fit();
  }

  /** A new screen of this size that shows the snapshot. */
  begin({ cols, rows, snapshot }) {
    this.resize(cols, rows);
    this.#terminal.reset(); // now: rows that become narrower keep what they have
    return this.write(snapshot);
  }

  /** Resolves when the emulator is through with it. */
  write(text) {
    return new Promise((parsed) => this.#terminal.write(text.replace(TOO_MANY_MARKS, "$1"), parsed));
  }

  /** In order with what was written before, once that is parsed. */
  resize(cols, rows) {
    this.#terminal.resize(clamp(cols, MIN_COLS), clamp(rows, MIN_ROWS));
    this.fit();
  }

  /** Marks the text where it stands on the screen; "" marks nothing. */
  mark(text) {
    this.#search.clearDecorations();
    if (text !== "") this.#search.findNext(text, { decorations: searchColours("auto") });
  }

  /** The visible text, for tests and screen readers. */
  text() {
    const { buffer, rows } = this.#terminal;
    return Array.from({ length: rows }, (_, row) => buffer.active.getLine(row)?.translateToString(true) ?? "").join("\n");
  }

  /** Scales it to the room, never larger than it is. */
  fit() {
    const { offsetWidth: width, offsetHeight: height } = this.#holder;
    if (width === 0 || height === 0) return;
    const { paddingLeft, paddingTop, borderTopWidth } = getComputedStyle(this.#container);
    const room = this.#container.clientWidth - 2 * Number.parseFloat(paddingLeft);
    const scale = Math.min(1, room / width, (window.innerHeight * HEIGHT) / height);
    const edges = 2 * (Number.parseFloat(paddingTop) + Number.parseFloat(borderTopWidth));
    this.#holder.style.transform = `scale(${scale})`;
    this.#container.style.height = `${Math.ceil(height * scale + edges)}px`;
  }

  #silence() {
    const { parser } = this.#terminal;
    for (const number of INERT_OSC) parser.registerOscHandler(number, () => true);
    for (const final of ["h", "l"]) {
      parser.registerCsiHandler({ prefix: "?", final }, (modes) => modes.every((mode) => INERT_MODES.has(mode)));
    }
    boundCounts(this.#terminal);
  }
}

function clamp(size, least) {
  return Math.min(Math.max(size, least), MAX_SIZE);
}

// Ctrl and Alt of the key bar, which a finger cannot hold: a tap is for the next key, a second tap keeps it. Pure.

const ESC = "\x1b";
// Arrows, Home and End, in both modes of the cursor keys.
// eslint-disable-next-line no-control-regex
const CURSOR_KEY = /^\x1b[[O]([ABCDFH])$/;

export class Modifiers {
  #states = { ctrl: "off", alt: "off" };
  #changed;

  /** `changed(states)` hears {ctrl, alt}, each "off", "once" or "locked". */
  constructor(changed = () => {}) {
    this.#changed = changed;
  }

  /** A tap on "ctrl" or "alt". */
  tap(name) {
    this.#states[name] = { off: "once", once: "locked", locked: "off" }[this.#states[name]];
    this.#changed(this.#states);
  }

  /** Whether the next key is changed. */
  get isWaiting() {
    return Object.values(this.#states).some((state) => state !== "off");
  }

  /** What goes to the host where this was typed. Answers of the mouse and words of an input method stay as they are. */
  apply(text) {
    if (!this.isWaiting) return text;
    const { ctrl, alt } = this.#states;
    const changed = modify(text, { ctrl: ctrl !== "off", alt: alt !== "off" });
    if (changed === null) return text;
    this.#use();
    return changed;
  }

  #use() {
    for (const [name, state] of Object.entries(this.#states)) {
      if (state === "once") this.#states[name] = "off";
    }
    this.#changed(this.#states);
  }
}

/** One key with Ctrl and Alt as a terminal sends it (xterm's numbers for cursor keys), or null for anything else. */
function modify(text, { ctrl, alt }) {
  const cursorKey = CURSOR_KEY.exec(text)?.[1];
  if (cursorKey) return `${ESC}[1;${1 + (alt ? 2 : 0) + (ctrl ? 4 : 0)}${cursorKey}`;
  if (Array.from(text).length !== 1) return null;
  const key = ctrl ? control(text) : text;
  return alt ? ESC + key : key;
}

// What Ctrl makes of keys outside "@" to "_", as xterm has it: 2 to 8 stand for characters that keyboards hide.
const CONTROLS = {
  " ": "\x00",
  2: "\x00",
  3: "\x1b",
  4: "\x1c",
  5: "\x1d",
  6: "\x1e",
  7: "\x1f",
  8: "\x7f",
  "-": "\x1f",
  "/": "\x1f",
  "?": "\x7f",
};

/** The control character of a key; a key without one stays. */
function control(key) {
  if (/^[@-_a-z]$/.test(key)) return String.fromCharCode(key.toUpperCase().charCodeAt(0) & 0x1f);
  return CONTROLS[key] ?? key;
}

// The keys that the page takes from the shell: one table for what they do, the dialog that lists them and the titles of
// buttons. None that a shell or an editor knows, and none that Chromium keeps for itself (Ctrl+Shift+N, T, W). Pure.

const isMac = navigator.platform.startsWith("Mac");

/**
 * In the order of the dialog. `key` is a letter, a name as of KeyboardEvent.key, or "1-9"; all with Ctrl+Shift. On a
 * Mac, letters also with Cmd+Shift, and those of `cmd` with Cmd alone.
 */
export const KEYS = Object.freeze([
  { action: "open", key: "O", says: "Open another terminal" },
  { action: "splitRight", key: "E", says: "Split to the right" },
  { action: "splitDown", key: "D", says: "Split downwards" },
  { action: "closePane", key: "X", says: "Close this terminal" },
  { action: "left", key: "ArrowLeft", says: "Go to the terminal on the left" },
  { action: "right", key: "ArrowRight", says: "Go to the terminal on the right" },
  { action: "up", key: "ArrowUp", says: "Go to the terminal above" },
  { action: "down", key: "ArrowDown", says: "Go to the terminal below" },
  { action: "tab", key: "1-9", says: "Go to a tab by its number" },
  { action: "broadcast", key: "B", says: "Type into several terminals" },
  { action: "find", key: "F", says: "Find", cmd: true },
  { action: "copy", key: "C", says: "Copy the selection", cmd: true },
  { action: "paste", key: "V", says: "Paste", cmd: true },
  { action: "people", key: "S", says: "Who is here, and sharing" },
  { action: "keyboard", key: "Y", says: "Take back, ask for or give back the keyboard of a shared terminal" },
  { action: "leave", key: "F6", says: "Leave the terminal for the bar" },
  { action: "keys", key: "K", says: "Show this list" },
]);

const ARROWS = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };

/** What a key press asks of the page instead of the shell: an action of KEYS, or null. */
export function shortcut(event) {
  const name = keyName(event);
  const entry = KEYS.find(({ key, cmd }) => key === name && isChord(event, { key, cmd }));
  return entry?.action ?? null;
}

/** The number of the tab that the shortcut "tab" asks for, 1 to 9. */
export function tabNumber(event) {
  return Number.parseInt(event.code.replace(/^\D+/, ""), 10);
}

/** The keys of an action as people read them, "Ctrl+Shift+F", or "" where it has none. */
export function keysOf(action) {
  const entry = KEYS.find((candidate) => candidate.action === action);
  if (entry === undefined) return "";
  const modifiers = isMac && entry.cmd ? "Cmd" : "Ctrl+Shift";
  return `${modifiers}+${ARROWS[entry.key] ?? entry.key}`;
}

/** Digits by their place, since with Shift they are other characters; letters by what they are, where they are Latin. */
function keyName({ key, code }) {
  if (/^Digit[1-9]$/.test(code)) return "1-9";
  if (/^[a-z]$/i.test(key)) return key.toUpperCase();
  return code.startsWith("Key") ? code.slice("Key".length) : key;
}

function isChord(event, { key, cmd = false }) {
  if (event.altKey) return false;
  if (event.ctrlKey && event.shiftKey && !event.metaKey) return true;
  return isMac && event.metaKey && !event.ctrlKey && (cmd || (event.shiftKey && key.length === 1));
}

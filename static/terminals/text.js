// Text that comes from outside: clipboard, titles and links of programs. Pure.

const TITLE_CHARACTERS = 80;

// C0 without tab, line feed and carriage return; DEL; C1. An ESC in a paste could end bracketed paste (ESC[201~) and
// turn the rest into commands; xterm.js 6.0.0 lets it through, and U+009B is the same introducer in one character.
// eslint-disable-next-line no-control-regex
const UNSAFE_IN_PASTE = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g;

// Controls, and format characters: bidi overrides could show "web1 · exe.txt" for something else.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Clipboard text without anything that a terminal takes for a control sequence. */
export function cleanPaste(text) {
  return text.replace(UNSAFE_IN_PASTE, "");
}

/** Clipboard text for a person to look at: nothing in it is invisible or changes the direction of what follows. */
export function showControls(text) {
  return text.replace(UNSEEN, (character) => (character === "\t" ? character : picture(character)));
}

/** The pictures of Unicode for C0 and DEL, the number for everything else. */
function picture(character) {
  const code = character.codePointAt(0);
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  return code === 0x7f ? "␡" : `‹${code.toString(16).toUpperCase().padStart(4, "0")}›`;
}

/** A program's title as plain, short, one-directional text. */
export function cleanTitle(text) {
  const clean = text.replace(UNSEEN, "").trim();
  const characters = Array.from(clean);
  return characters.length > TITLE_CHARACTERS ? `${characters.slice(0, TITLE_CHARACTERS - 1).join("")}…` : clean;
}

/** The link as a URL when it is http(s), else null. Its href shows a look-alike host name in punycode. */
export function webLink(text) {
  if (!URL.canParse(text)) return null;
  const url = new URL(text);
  return url.protocol === "http:" || url.protocol === "https:" ? url : null;
}

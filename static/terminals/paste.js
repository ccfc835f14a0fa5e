// Pasted text: whether a person must see it first, and the bytes that it becomes. Pure.

import { cleanPaste } from "./text.js";

/** Larger pastes are shown before they go, even if they are one line. */
const ASK_OVER_BYTES = 4096;

const OPENING = "\x1b[200~";
const CLOSING = "\x1b[201~";

const encoder = new TextEncoder();

/**
 * What there is to know about clipboard text: {text, lineCount, byteCount, leftOut, runs, mustAsk}. `text` is clean,
 * `leftOut` the number of characters that are not in it, `runs` whether its last line ends with Enter and so would run.
 */
export function inspectPaste(raw, isBracketed) {
  const text = cleanPaste(raw);
  const lines = text.split(/\r\n|\r|\n/);
  const endsWithEnter = lines.length > 1 && lines.at(-1) === "";
  const lineCount = endsWithEnter ? lines.length - 1 : lines.length;
  const byteCount = encoder.encode(text).length;
  const leftOut = raw.length - text.length;
  const runs = endsWithEnter && !isBracketed;
  const mustAsk = lineCount > 1 || runs || leftOut > 0 || byteCount > ASK_OVER_BYTES;
  return { text, lineCount, byteCount, leftOut, runs, mustAsk };
}

/**
 * Text as input: {bytes, closing}. Line ends as Enter sends them, and in the brackets that the program asked for; the
 * last `closing` bytes end them. No text can end them, since its control characters are left out.
 */
export function pasteInput(text, isBracketed) {
  const body = cleanPaste(text).replace(/\r\n|\n/g, "\r");
  if (!isBracketed) return { bytes: encoder.encode(body), closing: 0 };
  return { bytes: encoder.encode(OPENING + body + CLOSING), closing: CLOSING.length };
}

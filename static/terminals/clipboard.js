// The clipboard: what the person copies, and what a program in the terminal asks to put there (OSC 52).

/** Largest text that a program may put into the clipboard. */
const OFFERED_BYTES = 1024 * 1024;
const BASE64_CHARACTERS = Math.ceil(OFFERED_BYTES / 3) * 4;

/**
 * What a program asks with OSC 52, "SELECTION;BASE64": {kind: "write", text}, {kind: "read"} for "?", or null for
 * nonsense, which includes text over 1 MiB and bytes that are not UTF-8.
 */
export function parseOsc52(data) {
  const separator = data.indexOf(";");
  if (separator < 0) return null;
  const encoded = data.slice(separator + 1);
  if (encoded === "?") return { kind: "read" };
  if (encoded.length === 0 || encoded.length > BASE64_CHARACTERS) return null;
  try {
    const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
    return bytes.length > OFFERED_BYTES ? null : { kind: "write", text: decoder.decode(bytes) };
  } catch {
    return null;
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * Puts text into the clipboard; resolves to whether that worked. Browsers give the clipboard API to https and localhost
 * only; on plain http the old way works, but only right after the person did something.
 */
export async function putIntoClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyTheOldWay(text);
  }
}

function copyTheOldWay(text) {
  const onCopy = (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
    event.clipboardData.setData("text/plain", text);
  };
  document.addEventListener("copy", onCopy, { capture: true });
  try {
    return document.execCommand("copy");
  } finally {
    document.removeEventListener("copy", onCopy, { capture: true });
  }
}

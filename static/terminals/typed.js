// What a terminal sends for keys and mouse, and what of it another terminal may be given. Pure.

// eslint-disable-next-line no-control-regex
const MOUSE_REPORT = /^\x1b\[(M|<[\d;]+[Mm]$|[\d;]+M$)/;
// eslint-disable-next-line no-control-regex
const CURSOR_KEY = /^\x1b[[O]([A-DHF])$/;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Where the mouse is means nothing in another terminal. */
export function isMouseReport(bytes) {
  return MOUSE_REPORT.test(decoder.decode(bytes));
}

/** The same key for a terminal whose program asked for application cursor keys, or did not. */
export function inCursorMode(bytes, isApplication) {
  const key = bytes.length === 3 ? CURSOR_KEY.exec(decoder.decode(bytes)) : null;
  return key === null ? bytes : encoder.encode(`\x1b${isApplication ? "O" : "["}${key[1]}`);
}

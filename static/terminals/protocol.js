// The terminal websocket as this page speaks it (the contract's section 5): the closed set of messages, checked at
// the edge, and after which close codes the page attaches again. Pure: knows no socket and no DOM.

export const SUBPROTOCOL = "brokerd.terminal.v1";

/** A text message of the broker that does not have the shape of its type. */
export class ProtocolError extends Error {}

const isOffset = (value) => Number.isSafeInteger(value) && value >= 0;
const isSize = (value) => Number.isInteger(value) && value > 0 && value < 65536;
const isText = (value) => typeof value === "string";
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const isSeconds = (value) => isNumber(value) && value >= 0;
const isRole = (value) => value === "driver" || value === "watcher";
const isNullable = (check) => (value) => value === null || value === undefined || check(value);
const isListOf = (checks) => (value) => Array.isArray(value) && value.every((entry) => hasFields(entry, checks));

const ASKING = { id: isText, name: isText, role: isRole };
const VIEWER = { id: isText, name: isText, role: isRole };

// Fields that this page relies on; others may be there. `exit` carries a status or a signal.
const MESSAGES = {
  attached: {
    session: isText,
    role: isRole,
    cols: isSize,
    rows: isSize,
    output_offset: isOffset,
    input_offset: isOffset,
    window: isOffset,
    head: isNullable(isOffset),
    grace: isNullable(isSeconds),
  },
  input_ack: { offset: isOffset },
  resized: { offset: isOffset, cols: isSize, rows: isSize },
  replay: { until: isOffset },
  gap: { from: isOffset, to: isOffset, reason: isText },
  screen: { sequence: isText },
  viewers: { you: isNullable(isText), items: isListOf(VIEWER), asking: isNullable(isListOf(ASKING)) },
  role: { role: isRole, input_offset: isOffset, cols: isSize, rows: isSize },
  notice: { text: isText },
  limit: { kind: isText, in_s: isNullable(isSeconds) },
  pong: { t: isNumber, tunnel_ms: isNullable(isNumber) },
  exit: { status: isNullable(Number.isInteger), signal: isNullable(isText) },
  closing: { reason: isNullable(isText), retry_after: isNullable(isNumber) },
};

function hasFields(entry, checks) {
  return entry !== null && typeof entry === "object" && Object.entries(checks).every(([field, isValid]) => isValid(entry[field]));
}

/**
 * Reads one text message. Answers the message, or null for a type that this page does not know (a newer broker may
 * say more). Throws ProtocolError for what is not a message or lacks what its type needs.
 */
export function parseMessage(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    throw new ProtocolError("not JSON");
  }
  if (message === null || typeof message !== "object" || !isText(message.type)) throw new ProtocolError("no type");
  if (!Object.hasOwn(MESSAGES, message.type)) return null;
  for (const [field, isValid] of Object.entries(MESSAGES[message.type])) {
    if (!isValid(message[field])) throw new ProtocolError(`${message.type}: bad ${field}`);
  }
  return message;
}

export const attach = (ticket, { size, outputOffset, inputOffset }) =>
  JSON.stringify({
    type: "attach",
    ticket,
    cols: size.cols,
    rows: size.rows,
    output_offset: outputOffset,
    input_offset: inputOffset,
  });
export const ack = (offset) => JSON.stringify({ type: "ack", offset });
export const resize = ({ cols, rows }) => JSON.stringify({ type: "resize", cols, rows });
export const interrupt = () => JSON.stringify({ type: "interrupt" });
export const stay = () => JSON.stringify({ type: "stay" });
/** Asks for the keyboard ("driver"), or gives it away ("watcher"). */
export const askRole = (role) => JSON.stringify({ type: "role", ask: role });
export const ping = (t) => JSON.stringify({ type: "ping", t });

/** Close codes of the contract, and those of RFC 6455 that a browser reports. */
export const CLOSE = Object.freeze({
  ENDED: 1000,
  GOING_AWAY: 1001,
  ABNORMAL: 1006,
  BAD_MESSAGE: 4400,
  BAD_TICKET: 4401,
  NOT_ALLOWED: 4403,
  NO_SESSION: 4404,
  ATTACH_LATE: 4408,
  TAKEN_OVER: 4409,
  ENDED_BY_ADMIN: 4410,
  LIMIT: 4411,
  TUNNEL_LOST: 4412,
  HOST_KEY_MISMATCH: 4413,
  STALLED: 4414,
  RECORDING_FAILED: 4500,
  DRAINING: 4503,
});

const FINAL = new Set([
  CLOSE.ENDED,
  CLOSE.BAD_MESSAGE,
  CLOSE.NOT_ALLOWED,
  CLOSE.NO_SESSION,
  CLOSE.TAKEN_OVER,
  CLOSE.ENDED_BY_ADMIN,
  CLOSE.LIMIT,
  CLOSE.TUNNEL_LOST,
  CLOSE.HOST_KEY_MISMATCH,
  CLOSE.RECORDING_FAILED,
]);

/** Refusals that a fresh ticket may mend, or for which REST knows the reason: worth one more try. */
export const ASK_ONCE_MORE = new Set([CLOSE.BAD_TICKET, CLOSE.NO_SESSION]);

/** Whether the terminal session may still live after this close code, so that the page should attach again. */
export function mayReconnect(code) {
  return !FINAL.has(code);
}

// The terminal websocket as this page speaks it (the contract's section 5): the closed set of messages, checked at
// the edge, and what every way to end means for a person. Pure: knows no socket and no DOM.

export const SUBPROTOCOL = "brokerd.terminal.v1";

/** A text message of the broker that does not have the shape of its type. */
export class ProtocolError extends Error {}

const isOffset = (value) => Number.isSafeInteger(value) && value >= 0;
const isSize = (value) => Number.isInteger(value) && value > 0 && value < 65536;
const isText = (value) => typeof value === "string";
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const isNullable = (check) => (value) => value === null || value === undefined || check(value);

// Fields that this page relies on; others may be there. `exit` carries a status or a signal.
const MESSAGES = {
  attached: {
    session: isText,
    role: (value) => value === "driver" || value === "watcher",
    cols: isSize,
    rows: isSize,
    output_offset: isOffset,
    input_offset: isOffset,
    window: isOffset,
    head: isNullable(isOffset),
  },
  input_ack: { offset: isOffset },
  resized: { offset: isOffset, cols: isSize, rows: isSize },
  replay: { until: isOffset },
  gap: { from: isOffset, to: isOffset, reason: isText },
  viewers: {},
  notice: { text: isText },
  pong: { t: isNumber, tunnel_ms: isNullable(isNumber) },
  exit: { status: isNullable(Number.isInteger), signal: isNullable(isText) },
  closing: { reason: isNullable(isText), retry_after: isNullable(isNumber) },
};

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

// What a person can do next; the page knows how. The first is what Enter does.
export const OFFERS = Object.freeze({
  again: "Open again",
  reconnect: "Reconnect",
  takeBack: "Take back",
  retry: "Try again",
  reload: "Try again",
  login: "Log in",
  back: "Back to hosts",
});

const ENDED_MEANWHILE = "This terminal has ended";

/** Sentences by close code. `place` is {host, login}. */
const ENDINGS = {
  [CLOSE.BAD_MESSAGE]: () => ({
    title: "Misunderstanding",
    text: "The broker and this page did not understand each other. The shell may still run: reconnect, or reload the page.",
    offers: ["reconnect", "again", "back"],
  }),
  [CLOSE.BAD_TICKET]: () => ({
    title: "The ticket was refused",
    text: "The broker refused the ticket of this page twice: used, expired or meant for another session.",
    offers: ["reconnect", "again", "back"],
  }),
  [CLOSE.NOT_ALLOWED]: ({ host, login }) => ({
    title: "Not allowed",
    text: `You may not use ${login} on ${host}, or not any more. An admin can grant it.`,
    offers: ["back", "again"],
  }),
  [CLOSE.NO_SESSION]: () => ({
    title: ENDED_MEANWHILE,
    text: "This terminal session does not exist any more.",
    offers: ["again", "back"],
  }),
  [CLOSE.TAKEN_OVER]: () => ({
    title: "Taken over",
    text: "This terminal is now used from another window. The shell goes on there.",
    offers: ["takeBack", "back"],
  }),
  [CLOSE.ENDED_BY_ADMIN]: () => ({
    title: "Ended by an admin",
    text: "An admin ended this terminal session.",
    offers: ["back", "again"],
  }),
  [CLOSE.LIMIT]: () => ({
    title: "A limit was reached",
    text: "The broker ended this terminal session because a time limit was reached.",
    offers: ["again", "back"],
  }),
  [CLOSE.TUNNEL_LOST]: ({ host }) => ({
    title: "Tunnel lost",
    text: `${host} could not be reached any more, so this shell is lost. The host comes back by itself when it can.`,
    offers: ["again", "back"],
  }),
  [CLOSE.HOST_KEY_MISMATCH]: ({ host }) => ({
    title: "Host key mismatch",
    text: `${host} answered with another host key than the one pinned at its approval. Nothing was sent to it. Tell an admin.`,
    offers: ["back"],
  }),
  [CLOSE.RECORDING_FAILED]: () => ({
    title: "Recording failed",
    text: "This terminal session could not be recorded, and unrecorded sessions are not allowed, so it was ended.",
    offers: ["again", "back"],
  }),
};

function describeExit({ exit, reason }, { host }) {
  const offers = ["again", "back"];
  const title = "Session ended";
  if (exit?.signal) return { title, text: `The program on ${host} was ended by signal ${exit.signal}.`, offers };
  if (exit?.status === 0) return { title, text: `The program on ${host} ended normally (exit status 0).`, offers };
  if (Number.isInteger(exit?.status)) {
    return { title, text: `The program on ${host} ended with exit status ${exit.status}.`, offers };
  }
  return { title, text: `The terminal session on ${host} was ended.`, detail: asSentence(reason), offers };
}

/**
 * Why a terminal ended, for a person: {title, text, detail, offers}. `ending` is {code, reason, exit} as the
 * websocket gave it; `detail` is the broker's own reason, where it has one.
 */
export function describeEnding(ending, place) {
  if (ending.code === CLOSE.ENDED) return describeExit(ending, place);
  const sentence = ENDINGS[ending.code];
  if (sentence) return { ...sentence(place), detail: asSentence(ending.reason) };
  return {
    title: "Connection lost",
    text: `The connection to the broker ended (code ${ending.code}).`,
    detail: asSentence(ending.reason),
    offers: ["reconnect", "again", "back"],
  };
}

const PROBLEMS = {
  0: { title: "The broker does not answer", offers: ["retry", "back"] },
  401: { title: "Logged out", offers: ["login", "back"] },
  403: { title: "Not allowed", offers: ["back", "reload"] },
  404: { title: "Not found", offers: ["back", "retry"] },
  409: { title: "Not possible now", offers: ["retry", "back"] },
  429: { title: "Too many tries", offers: ["retry", "back"] },
};

/**
 * Why the broker's REST answered no, for a person. `problem` is {status, title, detail} (RFC 9457; status 0: no
 * answer); `isAttaching`: it was about an existing terminal session, so a new one can be offered.
 */
export function describeProblem(problem, isAttaching) {
  const known = PROBLEMS[problem.status] ?? { title: "The broker could not do this", offers: ["retry", "back"] };
  const text = asSentence(problem.detail || problem.title || `The broker answered with status ${problem.status}.`);
  if (!isAttaching || problem.status === 0 || problem.status === 401) return { title: known.title, text, offers: known.offers };
  if (problem.status === 404 || problem.status === 409) return { title: ENDED_MEANWHILE, text, offers: ["again", "back"] };
  return { title: known.title, text, offers: [...known.offers, "again"] };
}

/** The broker words reasons for logs and terminals; a first word with digits or punctuation is the name of something. */
function asSentence(reason) {
  if (!reason) return "";
  const start = /^[a-z]+(?= |$)/.test(reason) ? reason[0].toUpperCase() : reason[0];
  return start + reason.slice(1) + (/[.!?]$/.test(reason) ? "" : ".");
}

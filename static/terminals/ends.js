// What every way to end means for a person, and what can be done next. Pure: knows no socket and no DOM.

import { CLOSE } from "./protocol.js";

// What a person can do next; the page knows how. The first is what Enter does.
export const OFFERS = Object.freeze({
  again: "Open again",
  reconnect: "Reconnect",
  takeBack: "Take back",
  retry: "Try again",
  reload: "Try again",
  login: "Log in",
  confirm: "Confirm it is you",
  back: "Back to hosts",
});

const ENDED_MEANWHILE = "This terminal has ended";
const OUT = "You may not be in this terminal any more.";

/**
 * Sentences by close code. `place` is {host, login}. `mayReturn`: the host may come back, so wait for it; `isLost`: it has
 * just gone.
 */
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
  [CLOSE.NOT_ALLOWED]: ({ host, login, isForeign }) => ({
    title: "Not allowed",
    text: isForeign ? OUT : `A terminal as ${login} on ${host} is not allowed, or not any more.`,
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
    text: "The broker ended this terminal session, and the shell in it, because a time limit was reached.",
    offers: ["again", "back"],
  }),
  [CLOSE.TUNNEL_LOST]: ({ host }) => ({
    title: "Tunnel lost",
    text: `${host} cannot be reached any more, and this shell ended with the connection. The host comes back by itself when it can.`,
    offers: ["back", "again"],
    mayReturn: true,
    isLost: true,
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
 * Why a terminal ended, for a person: {title, text, detail, offers, mayReturn, isLost}. `ending` is {code, reason, exit}
 * as the websocket gave it; `detail` is the broker's own reason, where it has one.
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
  409: { title: "Not possible now", offers: ["retry", "back"], mayReturn: true },
  429: { title: "Too many tries", offers: ["retry", "back"] },
};

const SECOND_FACTOR = {
  title: "A second factor is required",
  text: "Confirm that it is you, with a passkey or a code. This terminal opens by itself afterwards.",
  offers: ["confirm", "back"],
};

/**
 * Why the broker's REST answered no, for a person. `problem` is {status, title, detail} (RFC 9457; status 0: no
 * answer); `isAttaching`: it was about an existing terminal session, so a new one can be offered; `isDrained`: which the
 * broker left to stop; `isForeign`: it is somebody else's.
 */
export function describeProblem(problem, { isAttaching, isDrained, isForeign = false }) {
  if (problem.needsSecondFactor) return SECOND_FACTOR;
  const known = PROBLEMS[problem.status] ?? { title: "The broker could not do this", offers: ["retry", "back"] };
  const text = asSentence(problem.detail || problem.title || `The broker answered with status ${problem.status}.`);
  if (!isAttaching || problem.status === 0 || problem.status === 401) return { ...known, text };
  if (isForeign && problem.status === 404) return { title: "Not allowed", text: OUT, detail: text, offers: ["back"] };
  if (problem.status !== 404 && problem.status !== 409) return { title: known.title, text, offers: [...known.offers, "again"] };
  const offers = ["again", "back"];
  if (isDrained) return { title: "The broker was restarted", text: "This shell ended with the broker.", detail: text, offers };
  return { title: ENDED_MEANWHILE, text, offers };
}

const WAITS = {
  offline: ({ host }) => ({ text: `Waiting for ${host} to come back…`, offers: ["back", "again"] }),
  online: ({ host }) => ({ text: `${host} is back.`, offers: ["again", "back"] }),
  gone: ({ host }) => ({ text: `${host} is not among your hosts any more.`, offers: ["back"] }),
  loggedOut: () => ({ text: "You are not logged in any more.", offers: ["login", "back"] }),
  tired: ({ host }) => ({ text: `${host} did not come back within an hour.`, offers: ["again", "back"] }),
};

/** How the waiting for a host goes (an outcome of `HostWatch`), for a person: {text, offers}. */
export function describeWait(outcome, place) {
  return WAITS[outcome](place);
}

/** The broker words reasons for logs and terminals; a first word with digits or punctuation is the name of something. */
function asSentence(reason) {
  if (!reason) return "";
  const start = /^[a-z]+(?= |$)/.test(reason) ? reason[0].toUpperCase() : reason[0];
  return start + reason.slice(1) + (/[.!?]$/.test(reason) ? "" : ".");
}

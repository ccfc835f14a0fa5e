// Which terminals the page shows, and how, over a reload. Kept by the browser for this one tab of it; what is read is
// not trusted: it may be old, another person's, or nonsense.

import { readLayout } from "./layout.js";

const KEY = "brokerd.workspace";
const MOST_CHARACTERS = 32_768;
/** A page full of WebGL contexts, of which browsers allow 16. */
export const MOST_PANES = 16;

const HOST = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const LOGIN = /^[^\p{C}]{1,64}$/u;
const SESSION = /^[\w-]{1,64}$/;

/** `workspace` is {tabs: [{layout, panes: [{host, login, session}], active}], shown}; layouts name panes "0", "1", .. */
export function remember(person, workspace) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ person, ...workspace }));
  } catch {
    // Storage is blocked or full: a reload shows the active terminal alone.
  }
}

/** What `remember` kept for this person, or null. */
export function recall(person) {
  try {
    return readWorkspace(sessionStorage.getItem(KEY), person);
  } catch {
    return null; // storage is blocked
  }
}

function readWorkspace(text, person) {
  if (text === null || text.length > MOST_CHARACTERS) return null;
  const value = parse(text);
  if (value?.person !== person || !Array.isArray(value.tabs)) return null;
  const tabs = value.tabs.slice(0, MOST_PANES).map(readTab);
  const count = tabs.reduce((sum, tab) => sum + (tab?.panes.length ?? 0), 0);
  if (tabs.length === 0 || tabs.includes(null) || count > MOST_PANES) return null;
  return { tabs, shown: isIndex(value.shown, tabs) ? value.shown : 0 };
}

function readTab(value) {
  if (!Array.isArray(value?.panes) || value.panes.length > MOST_PANES) return null;
  const panes = value.panes.map(readPane);
  const layout = readLayout(value.layout, Object.keys(panes));
  if (panes.includes(null) || layout === null) return null;
  return { layout, panes, active: isIndex(value.active, panes) ? value.active : 0 };
}

function readPane(value) {
  const { host, login, session } = value ?? {};
  const isSound = matches(host, HOST) && matches(login, LOGIN) && (session === null || matches(session, SESSION));
  return isSound ? { host, login, session } : null;
}

const matches = (value, pattern) => typeof value === "string" && pattern.test(value);
const isIndex = (value, list) => Number.isInteger(value) && value >= 0 && value < list.length;

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

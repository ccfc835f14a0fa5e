// The page's address names the active terminal, so that a reload or a link comes back to it.

/** The terminal that the address names: {host, login, session}; session null where a new one is wanted. */
export function namedTerminal() {
  const { host, login } = document.body.dataset;
  return { host, login, session: new URLSearchParams(location.search).get("session") || null };
}

export function nameTerminal({ host, login, session }) {
  const url = new URL(`/hosts/${encodeURIComponent(host)}/terminal`, location.origin);
  url.searchParams.set("login", login);
  if (session !== null) url.searchParams.set("session", session);
  if (url.href !== location.href) history.replaceState(null, "", url);
}

/** Whether this browser tab showed the page before: a reload, or back and forward. */
export function isRevisited() {
  return performance.getEntriesByType("navigation")[0]?.type !== "navigate";
}

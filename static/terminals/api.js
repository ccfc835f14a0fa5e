// The REST calls that the terminal page makes.

const TIMEOUT_MS = 15_000;
/** Most entries that the broker gives at once. */
const LIST_LIMIT = 1000;

/** The broker said no, or nothing: status 0. Fields as in RFC 9457. */
export class Problem extends Error {
  constructor({ status, title, detail }, retryAfterS = null) {
    super(detail || title || `status ${status}`);
    this.status = status;
    this.title = title;
    this.detail = detail;
    this.retryAfterS = retryAfterS;
  }

  /** Whether the same call may succeed a little later without anybody doing something. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export class Api {
  #base;
  #csrfToken;

  constructor(base, csrfToken) {
    this.#base = base;
    this.#csrfToken = csrfToken;
  }

  /** Opens a terminal session: {id, ticket, socket}. */
  openSession(host, login, { cols, rows }) {
    return this.#call("POST", "/sessions", { host, login, cols, rows });
  }

  /** A ticket to drive a session that exists: {ticket, socket}. */
  takeTicket(session) {
    return this.#call("POST", `/sessions/${encodeURIComponent(session)}/tickets`, { role: "driver" });
  }

  /** Ends the shell. Also resolves where that is so already. */
  async endSession(session) {
    try {
      await this.#call("DELETE", `/sessions/${encodeURIComponent(session)}`);
    } catch (problem) {
      if (problem.status !== 404 && problem.status !== 409) throw problem;
    }
  }

  /** The person's own live sessions, newest first: [{id, host, login, way, viewers, ..}]. */
  openSessions() {
    return this.#list(`/sessions?live=1&mine=1&limit=${LIST_LIMIT}`);
  }

  /** The hosts within reach: [{name, online, offline_reason, rights: [{login, capabilities}], ..}]. */
  hosts() {
    return this.#list(`/hosts?limit=${LIST_LIMIT}`);
  }

  /** One of the hosts within reach: {name, online, ..}. */
  host(name) {
    return this.#call("GET", `/hosts/${encodeURIComponent(name)}`);
  }

  /** One host, as `hosts` has it. */
  host(name) {
    return this.#call("GET", `/hosts/${encodeURIComponent(name)}`);
  }

  /** Stores the person's preferences, whole; answers them as stored. */
  savePreferences(preferences) {
    return this.#call("PUT", "/preferences", preferences, { keepalive: true }); // also from a page that is being left
  }

  async #list(path) {
    return (await this.#call("GET", path)).items;
  }

  async #call(method, path, body, options) {
    const response = await this.#fetch(method, path, body, options);
    if (response.redirected) throw new Problem({ status: 401, detail: "You are not logged in any more." });
    if (response.status === 204) return null;
    const answer = await response.json().catch(() => null);
    if (response.ok && answer !== null) return answer;
    const status = response.ok ? 502 : response.status;
    const retryAfterS = Number.parseFloat(response.headers.get("Retry-After") ?? "");
    throw new Problem({ title: answer?.title, detail: answer?.detail, status }, Number.isNaN(retryAfterS) ? null : retryAfterS);
  }

  async #fetch(method, path, body, options) {
    try {
      return await fetch(this.#base + path, {
        method,
        cache: "no-store",
        credentials: "same-origin",
        headers: { "Content-Type": "application/json", "X-CSRFToken": this.#csrfToken },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(TIMEOUT_MS),
        ...options,
      });
    } catch {
      throw new Problem({ status: 0, detail: "The broker cannot be reached. Check the network, then try again." });
    }
  }
}

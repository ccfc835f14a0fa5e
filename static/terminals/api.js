// The two REST calls that the terminal page makes.

const TIMEOUT_MS = 15_000;

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
    return this.#post("/sessions", { host, login, cols, rows });
  }

  /** A ticket to drive a session that exists: {ticket, socket}. */
  takeTicket(session) {
    return this.#post(`/sessions/${encodeURIComponent(session)}/tickets`, { role: "driver" });
  }

  async #post(path, body) {
    const response = await this.#fetch(path, body);
    if (response.redirected) throw new Problem({ status: 401, detail: "You are not logged in any more." });
    const answer = await response.json().catch(() => null);
    if (response.ok && answer !== null) return answer;
    const status = response.ok ? 502 : response.status;
    const retryAfterS = Number.parseFloat(response.headers.get("Retry-After") ?? "");
    throw new Problem({ title: answer?.title, detail: answer?.detail, status }, Number.isNaN(retryAfterS) ? null : retryAfterS);
  }

  async #fetch(path, body) {
    try {
      return await fetch(this.#base + path, {
        method: "POST",
        credentials: "same-origin",
        headers: { "Content-Type": "application/json", "X-CSRFToken": this.#csrfToken },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch {
      throw new Problem({ status: 0, detail: "The broker cannot be reached. Check the network, then try again." });
    }
  }
}

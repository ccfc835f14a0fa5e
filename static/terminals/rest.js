// One way to call the broker's REST, for every page that does.

const TIMEOUT_MS = 15_000;
/** The `type` of the problem that a person solves by confirming who they are. */
const SECOND_FACTOR = "/problems/second-factor-required";

/** The broker said no, or nothing: status 0. Fields as in RFC 9457. */
export class Problem extends Error {
  constructor({ status, title, detail, type }, retryAfterS = null) {
    super(detail || title || `status ${status}`);
    this.status = status;
    this.title = title;
    this.detail = detail;
    this.needsSecondFactor = type === SECOND_FACTOR;
    this.retryAfterS = retryAfterS;
  }

  /** Whether the same call may succeed a little later without anybody doing something. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export class Rest {
  #base;
  #csrfToken;

  constructor(base, csrfToken) {
    this.#base = base;
    this.#csrfToken = csrfToken;
  }

  /** The answer, null where there is none; throws a Problem. */
  async call(method, path, body, options) {
    const response = await this.#fetch(method, path, body, options);
    if (response.redirected) throw new Problem({ status: 401, detail: "You are not logged in any more." });
    if (response.status === 204) return null;
    const answer = await response.json().catch(() => null);
    if (response.ok && answer !== null) return answer;
    const status = response.ok ? 502 : response.status;
    const retryAfterS = Number.parseFloat(response.headers.get("Retry-After") ?? "");
    throw new Problem({ title: answer?.title, detail: answer?.detail, type: answer?.type, status }, Number.isNaN(retryAfterS) ? null : retryAfterS);
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

/** As the page that this runs in names it: the base in `data-api`, the CSRF token in a meta element. */
export function restOfPage() {
  return new Rest(document.body.dataset.api, document.querySelector("meta[name=csrf-token]").content);
}

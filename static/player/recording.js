// What the broker has of one recording: the facts, segments (kept for a while) and hits. Knows no page.

const TIMEOUT_MS = 60_000;
const PREPARING_MS = 1000;
/** Segments that are kept: about half a megabyte each. */
const KEPT = 6;

/** What the broker answered when it said no, for people. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem?.detail || problem?.title || "The broker cannot be reached. Check the network, then reload.");
    this.status = status;
    this.type = problem?.type ?? "";
  }
}

export class Recording {
  #url;
  #viewing = "";
  #segments = new Map();

  /** `url`: of the session, over REST. */
  constructor(url) {
    this.#url = url;
  }

  /** The facts, once they are there; `preparing` is called while they are not. */
  async open(preparing) {
    for (;;) {
      const facts = await this.#get("/replay");
      if (facts.state !== "preparing") {
        this.#viewing = facts.viewing;
        return facts;
      }
      preparing();
      await new Promise((resolve) => setTimeout(resolve, PREPARING_MS));
    }
  }

  /** Events and the screen before them: {n, t, cols, rows, snapshot, events}. Concurrent calls share one request. */
  segment(n) {
    const known = this.#segments.get(n);
    if (known !== undefined) {
      this.#segments.delete(n); // to be the newest
      this.#segments.set(n, known);
      return known;
    }
    const asked = this.#get(`/replay/segment?n=${n}&viewing=${encodeURIComponent(this.#viewing)}`);
    asked.catch(() => this.#segments.delete(n));
    this.#segments.set(n, asked);
    if (this.#segments.size > KEPT) this.#segments.delete(this.#segments.keys().next().value);
    return asked;
  }

  /** {items: [{t, line}], more}. */
  search(query, signal) {
    const asked = `q=${encodeURIComponent(query)}&viewing=${encodeURIComponent(this.#viewing)}`;
    return this.#get(`/replay/search?${asked}`, signal);
  }

  async #get(path, signal) {
    let response;
    try {
      const timeout = AbortSignal.timeout(TIMEOUT_MS);
      const signals = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
      response = await fetch(this.#url + path, { cache: "no-store", credentials: "same-origin", signal: signals });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Refusal(0, null);
    }
    const answer = await response.json().catch(() => null);
    if (!response.ok || answer === null) throw new Refusal(response.status, answer);
    return answer;
  }
}

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
  #answer = null;
  #viewing = "";
  #segments = new Map();

  /** `url`: of the session, over REST. */
  constructor(url) {
    this.#url = url;
  }

  /** Asks for the facts and for the segment at `time`; `open` waits for them. */
  ask(time) {
    this.#answer = this.#get(`/replay?at=${time}`);
    this.#answer.catch(() => {}); // `open` throws it
  }

  /** The facts, once they are there; `preparing` is called while they are not. Asks again for the moment `time`. */
  async open(time, preparing) {
    for (;;) {
      const { segment, ...facts } = await this.#answer;
      if (facts.state !== "preparing") {
        this.#viewing = facts.viewing;
        if (segment) this.#segments.set(segment.n, Promise.resolve(segment));
        return facts;
      }
      preparing();
      await new Promise((resolve) => setTimeout(resolve, PREPARING_MS));
      this.ask(time);
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

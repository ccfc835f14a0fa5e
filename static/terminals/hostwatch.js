// Waits for a host to come back, after its tunnel was lost: asks every few seconds, only where somebody may be looking.

const EVERY_MS = { least: 3_000, most: 5_000 };
const LONGEST_MS = 60 * 60 * 1000;

const FINAL_PROBLEMS = { 401: "loggedOut", 403: "gone", 404: "gone" };

export class HostWatch {
  #ask;
  #answered;
  #until = Date.now() + LONGEST_MS;
  #isAway = false;
  #isOver = false;
  #timer = 0;
  #onVisible = () => {
    if (document.visibilityState === "visible") this.#askNow();
  };

  /**
   * `ask` promises {online} or throws a Problem. `answered(outcome)` hears "offline", any number of times, and then
   * once "online", "gone" (out of the person's reach), "loggedOut" or "tired" (nothing for an hour); nothing at all where
   * the host is not away.
   */
  constructor({ ask, answered }) {
    this.#ask = ask;
    this.#answered = answered;
    document.addEventListener("visibilitychange", this.#onVisible);
  }

  /** `isLost`: the host is known to be away, only the broker may not know it yet; else it is asked at once. */
  start({ isLost }) {
    this.#isAway = isLost;
    if (isLost) this.#askSoon();
    else this.#askNow();
  }

  stop() {
    this.#isOver = true;
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this.#onVisible);
  }

  #askSoon() {
    clearTimeout(this.#timer);
    const waitMs = EVERY_MS.least + Math.random() * (EVERY_MS.most - EVERY_MS.least);
    this.#timer = setTimeout(() => this.#askNow(), waitMs);
  }

  async #askNow() {
    clearTimeout(this.#timer);
    if (document.visibilityState !== "visible") return; // goes on when it is
    const outcome = await this.#outcome();
    if (this.#isOver) return;
    if (outcome === "offline" || outcome === "unknown") this.#askSoon();
    else this.stop();
    if (outcome !== "unknown" && (outcome !== "online" || this.#isAway)) this.#answered(outcome);
    this.#isAway ||= outcome === "offline";
  }

  async #outcome() {
    try {
      const { online } = await this.#ask();
      if (online) return "online";
    } catch (problem) {
      return FINAL_PROBLEMS[problem.status] ?? (this.#isTired ? "tired" : "unknown");
    }
    return this.#isTired ? "tired" : "offline";
  }

  get #isTired() {
    return Date.now() > this.#until;
  }
}

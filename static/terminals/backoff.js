// How long to wait before the next attempt to connect. Pure: the clock and chance are given to it.

const FIRST_MS = 250;
const MOST_MS = 8_000;
/** A connection that lived shorter than this does not reset the back-off. */
const STABLE_MS = 5_000;
/** The longest wait that a broker can ask for. */
const ASKED_MOST_MS = 60_000;

export class BackOff {
  #tries = 0;
  #connectedAt = null;
  #askedMs = 0;

  /** A connection began to work at `now` (milliseconds). */
  connected(now) {
    this.#connectedAt = now;
  }

  /** The broker asks to come back no sooner than this; null withdraws it. Counts for one wait. */
  askedToWait(seconds) {
    this.#askedMs = Math.min(ASKED_MOST_MS, Math.max(0, seconds ?? 0) * 1000);
  }

  /** The milliseconds to wait now: doubling, of which the upper half is left to `chance` (0 to 1). */
  next(now, chance) {
    if (this.#connectedAt !== null && now - this.#connectedAt > STABLE_MS) this.#tries = 0;
    const mostMs = Math.min(MOST_MS, FIRST_MS * 2 ** this.#tries);
    const waitMs = Math.max(mostMs * (0.5 + chance / 2), this.#askedMs);
    this.#tries += 1;
    this.#connectedAt = null;
    this.#askedMs = 0;
    return waitMs;
  }
}

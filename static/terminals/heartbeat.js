// Finds out whether a connection that says nothing still lives, and how long an answer takes. Knows no websocket.

const EVERY_MS = 15_000;
/** How long a connection may stay silent after a probe. */
const PROBE_MS = 5_000;
/** How often the clock is looked at, to notice that the machine slept, and by how much it jumps then. */
const LOOK_MS = 3_000;
const SLEPT_MS = 5_000;

export class Heartbeat {
  #ping;
  #onSilence;
  #heardAt = Date.now();
  #isAnswerDue = false;
  #lookedAt = 0;
  #beatTimer = 0;
  #probeTimer = 0;
  #lookTimer = 0;

  /** `ping(t)` sends one, `onSilence` hears that nothing at all came back. */
  constructor(ping, onSilence) {
    this.#ping = ping;
    this.#onSilence = onSilence;
  }

  /** When something last arrived, by Date.now: the clock that goes on while the machine sleeps. */
  get heardAt() {
    return this.#heardAt;
  }

  start() {
    this.#beat();
    this.#look();
  }

  /** Anything arrived. */
  heard() {
    this.#heardAt = Date.now();
    this.#isAnswerDue = false;
  }

  /** Asks now, for when the page or the network comes back: an answer is due much sooner than usual. */
  probe() {
    this.#beat();
    clearTimeout(this.#probeTimer);
    this.#probeTimer = setTimeout(() => this.#isSilent(), PROBE_MS);
  }

  stop() {
    clearTimeout(this.#beatTimer);
    clearTimeout(this.#probeTimer);
    clearTimeout(this.#lookTimer);
  }

  #beat() {
    clearTimeout(this.#beatTimer);
    this.#beatTimer = setTimeout(() => this.#isSilent() || this.#beat(), EVERY_MS);
    this.#isAnswerDue = true;
    this.#ping(performance.now());
  }

  /** A timer that comes much too late means that the machine slept, or the tab was frozen: no event says so. */
  #look() {
    this.#lookedAt = Date.now();
    this.#lookTimer = setTimeout(() => {
      if (Date.now() - this.#lookedAt > LOOK_MS + SLEPT_MS) this.probe();
      this.#look();
    }, LOOK_MS);
  }

  #isSilent() {
    if (this.#isAnswerDue) this.#onSilence();
    return this.#isAnswerDue;
  }
}

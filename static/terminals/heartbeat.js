// Finds out whether a connection that says nothing still lives, and how long an answer takes. Knows no websocket.

const EVERY_MS = 15_000;
/** How long a connection may stay silent after a probe. */
const PROBE_MS = 5_000;

export class Heartbeat {
  #ping;
  #onSilence;
  #heardAt = 0;
  #pingedAt = 0;
  #beatTimer = 0;
  #probeTimer = 0;

  /** `ping(t)` sends one, `onSilence` hears that nothing at all came back. */
  constructor(ping, onSilence) {
    this.#ping = ping;
    this.#onSilence = onSilence;
  }

  start() {
    clearTimeout(this.#beatTimer);
    this.#beatTimer = setTimeout(() => this.#isSilent() || this.start(), EVERY_MS);
    this.#pingedAt = performance.now();
    this.#ping(this.#pingedAt);
  }

  /** Anything arrived. */
  heard() {
    this.#heardAt = performance.now();
  }

  /** Asks now, for when the page or the network comes back: an answer is due much sooner than usual. */
  probe() {
    this.start();
    clearTimeout(this.#probeTimer);
    this.#probeTimer = setTimeout(() => this.#isSilent(), PROBE_MS);
  }

  stop() {
    clearTimeout(this.#beatTimer);
    clearTimeout(this.#probeTimer);
  }

  #isSilent() {
    const isSilent = this.#heardAt < this.#pingedAt;
    if (isSilent) this.#onSilence();
    return isSilent;
  }
}

// What a pane says while time runs: how long a shell waits for its browser, and when a limit ends it.

/**
 * The strip over a terminal. Its words change each second, which nobody wants to hear: a screen reader is told once
 * what it is about, by an element of its own.
 */
export class Banner {
  #element;
  #words;
  #said;
  #isReconnecting = false;
  #loss = null;
  #isTyping = false;
  #limits = new Map(); // kind: when it ends the terminal, by Date.now
  #about = null;
  #timer = 0;

  /** `element` has .words, .said (a live region) and a button for each action that can be offered. */
  constructor(element) {
    this.#element = element;
    this.#words = element.querySelector(".words");
    this.#said = element.querySelector(".said");
  }

  /** The connection is lost; `loss` is {at, graceS, isDraining}, or null where there was none yet. */
  reconnecting(loss) {
    this.#isReconnecting = true;
    this.#loss = loss;
    this.#limits.clear(); // the broker says them anew
    this.#show();
  }

  /** Something was typed. */
  typed() {
    if (!this.#isReconnecting || this.#isTyping) return;
    this.#isTyping = true;
    this.#show();
  }

  /** The broker's message: a limit ends the terminal in `in_s` seconds; null withdraws that. */
  limit({ kind, in_s: inS }) {
    if (!Object.hasOwn(LIMITS, kind)) return;
    if (inS === null || inS === undefined) this.#limits.delete(kind);
    else this.#limits.set(kind, Date.now() + inS * 1000);
    this.#show();
  }

  /** Nothing to say, and nothing ticks any more. */
  clear() {
    this.#isReconnecting = this.#isTyping = false;
    this.#limits.clear();
    this.#show();
  }

  #show() {
    clearTimeout(this.#timer);
    const now = Date.now();
    const shown = this.#isReconnecting ? describeLoss(this.#loss, this.#isTyping, now) : describeLimits(this.#limits, now);
    this.#element.hidden = shown === null;
    if (shown?.about !== this.#about) this.#tell(shown);
    if (shown === null) return;
    this.#words.textContent = shown.text;
    if (shown.leftMs > 0) this.#timer = setTimeout(() => this.#show(), shown.leftMs % 1000 || 1000);
  }

  #tell(shown) {
    this.#about = shown?.about;
    this.#said.textContent = shown?.text ?? "";
    for (const button of this.#element.querySelectorAll("[data-action]")) button.hidden = button.dataset.action !== shown?.offer;
  }
}

/** {text, leftMs, about, offer}: `about` differs where a listener should be told, `offer` is the action of its button. */
function describeLoss(loss, isTyping, now) {
  const graceMs = (loss?.graceS ?? 0) * 1000;
  const leftMs = loss === null || loss.isDraining ? 0 : Math.max(0, loss.at + graceMs - now);
  const sentences = [];
  if (loss?.isDraining) sentences.push("The broker is stopping.");
  sentences.push("Reconnecting…");
  if (isTyping && !loss?.isDraining) sentences.push("What you type is kept.");
  if (leftMs > 0) sentences.push(`The shell waits for ${formatDuration(leftMs)}.`);
  else if (graceMs > 0 && !loss.isDraining) sentences.push("The shell may have ended.");
  return { text: sentences.join(" "), leftMs, about: `loss ${isTyping} ${leftMs > 0}`, offer: "retryNow" };
}

const LIMITS = {
  idle: { text: "Nothing was typed for a while: this terminal ends", offer: "stay" },
  longest: { text: "This terminal reaches its longest time", offer: null },
};

/** As `describeLoss`, of the limit that comes first; null when none is near. */
function describeLimits(limits, now) {
  const [first] = Array.from(limits).sort(([, left], [, right]) => left - right);
  if (first === undefined) return null;
  const [kind, endsAt] = first;
  const leftMs = Math.max(0, endsAt - now);
  const { text, offer } = LIMITS[kind];
  return { text: `${text} ${leftMs > 0 ? `in ${formatClock(leftMs)}` : "now"}.`, leftMs, about: `limit ${kind}`, offer };
}

/** 9 min 40 s, for a sentence. */
function formatDuration(ms) {
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return parts(Math.floor(seconds / 60), "min", seconds % 60, "s");
  return parts(Math.floor(seconds / 3600), "h", Math.floor((seconds % 3600) / 60), "min");
}

function parts(large, largeUnit, small, smallUnit) {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

/** 0:54, for a countdown. */
function formatClock(ms) {
  const seconds = Math.ceil(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

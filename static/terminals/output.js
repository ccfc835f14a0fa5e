// Output on its way to the emulator. Most of what was received waits here and not in the emulator's own buffer, where
// an interrupt could not take it back. Knows no socket and no DOM.

/** Bytes that the emulator is given before it has parsed those before: it is never idle, and an interrupt soon shows. */
export const HANDED_BYTES = 64 * 1024;

/**
 * `emulator`: output(bytes, parsed), gap(gap, parsed), screen(sequence, parsed) and resized(size, parsed); each must call `parsed` when the
 * emulator is through with it. `parsed(end)` hears that all output before `end` is parsed.
 */
export class OutputQueue {
  #emulator;
  #parsed;
  #items = []; // {bytes, end}, {gap}, {size} or {sequence}, in the order in which they arrived
  #handedBytes = 0;
  #handedItems = 0;
  #isRestoring = false;

  constructor(emulator, parsed) {
    this.#emulator = emulator;
    this.#parsed = parsed;
  }

  /** Whether the emulator parses a restoring sequence now. Nothing else is handed to it meanwhile. */
  get isRestoring() {
    return this.#isRestoring;
  }

  /** Output; `end` is the offset after its last byte. */
  add(bytes, end) {
    this.#items.push({ bytes, end });
    this.#hand();
  }

  /** A place where output is left out. */
  addGap(gap) {
    this.#items.push({ gap });
    this.#hand();
  }

  /** The size that the terminal has from here on. */
  addSize(size) {
    this.#items.push({ size });
    this.#hand();
  }

  /** Control sequences that are no output: what the emulator replies to them answers nobody. */
  addScreen(sequence) {
    this.#items.push({ sequence });
    this.#hand();
  }

  /** Forgets what was not handed over, and says how many bytes of output that were, those in gaps included. */
  discard() {
    const count = this.#items.reduce((sum, { bytes, gap }) => sum + (bytes?.length ?? 0) + (gap ? gap.to - gap.from : 0), 0);
    this.#items = this.#items.filter(({ size }) => size !== undefined).slice(-1);
    return count;
  }

  #hand() {
    while (this.#items.length > 0 && this.#handedBytes < HANDED_BYTES && !this.#isRestoring) {
      const [{ bytes, end, gap, size, sequence }] = this.#items;
      if (sequence !== undefined && this.#handedItems > 0) return; // so that replies are known to be to it
      if (bytes !== undefined) this.#handBytes(bytes, end);
      else if (gap !== undefined) this.#handGap(gap);
      else if (size !== undefined) this.#handSize(size);
      else this.#handScreen(sequence);
    }
  }

  #handBytes(bytes, end) {
    const count = Math.min(bytes.length, HANDED_BYTES - this.#handedBytes);
    if (count < bytes.length) this.#items[0] = { bytes: bytes.subarray(count), end };
    else this.#items.shift();
    this.#handedBytes += count;
    const handedTo = end - bytes.length + count;
    this.#emulator.output(
      bytes.subarray(0, count),
      this.#whenParsed(() => {
        this.#handedBytes -= count;
        this.#parsed(handedTo);
      }),
    );
  }

  #handGap(gap) {
    this.#items.shift();
    this.#emulator.gap(gap, this.#whenParsed(() => this.#parsed(gap.to)));
  }

  #handSize(size) {
    this.#items.shift();
    this.#emulator.resized(size, this.#whenParsed(() => {}));
  }

  #handScreen(sequence) {
    this.#items.shift();
    this.#isRestoring = true;
    this.#emulator.screen(
      sequence,
      this.#whenParsed(() => {
        this.#isRestoring = false;
      }),
    );
  }

  #whenParsed(act) {
    this.#handedItems += 1;
    return () => {
      this.#handedItems -= 1;
      act();
      this.#hand();
    };
  }
}

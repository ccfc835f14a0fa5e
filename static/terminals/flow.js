// Offsets of the two byte streams of a terminal session: what was received, parsed and acknowledged of the output,
// and what was typed, sent and acknowledged of the input. Pure: knows no socket, no DOM and no clock.
//
// Offsets are absolute and counted from the start of the session; a Number holds them exactly below 2^53.

const KIB = 1024;

/** Parsed bytes after which an acknowledgement is worth a message (the broker's window is 128 KiB by default). */
export const ACK_EVERY_BYTES = 16 * KIB;
/** Largest binary message sent; the broker refuses incoming messages over 64 KiB. */
export const SLICE_BYTES = 16 * KIB;
/** Sent and unacknowledged input that a paste may have in flight, and all that is kept while disconnected. */
export const INPUT_WINDOW_BYTES = 64 * KIB;
/** Up to here input counts as typed by hand and does not wait for that window, only for the next. */
export const TYPED_BYTES = 256;
/** The broker ends a session with more than 256 KiB of unacknowledged input; replies to a flood of queries get there. */
export const TYPED_WINDOW_BYTES = 2 * INPUT_WINDOW_BYTES;
/** Largest paste that is queued while connected. */
export const QUEUE_BYTES = 16 * KIB * KIB;

/** What `InputQueue.next` answers for a ^C that goes out as a message of its own. */
export const INTERRUPT = Symbol("interrupt");
const CTRL_C = Uint8Array.of(0x03);
const NOTHING = new Uint8Array(0);

/** The output side of one terminal session, over all its websockets. */
export class OutputFlow {
  #received = 0;
  #parsed = 0;
  #acked = 0;
  #ackEvery = ACK_EVERY_BYTES;
  #replay = null;

  /** The next byte wanted. Received bytes that are not parsed yet wait in the terminal's queue: not wanted again. */
  get received() {
    return this.#received;
  }

  get parsed() {
    return this.#parsed;
  }

  /** Whether the byte that is parsed next is old, so that replies of the emulator must not be typed. */
  get replaying() {
    return this.#replay !== null && this.#parsed >= this.#replay.from && this.#parsed < this.#replay.until;
  }

  /** A small window asks for more frequent acknowledgements; otherwise it would stall below the threshold. */
  setWindow(windowBytes) {
    this.#ackEvery = Math.max(1, Math.min(ACK_EVERY_BYTES, Math.floor(windowBytes / 4)));
  }

  /**
   * The broker says which byte comes next. Answers how that joins what is on the screen: "continues", "skips"
   * (bytes are missing) or "restarts" (older bytes come again, which takes a new flow and a cleared screen).
   */
  resume(offset) {
    const known = this.#received;
    if (this.#parsed === known) this.#parsed = offset;
    this.#received = offset;
    this.#acked = offset;
    if (offset === known) return "continues";
    return offset > known ? "skips" : "restarts";
  }

  startReplay(until) {
    this.#replay = { from: this.#received, until };
  }

  /** Bytes arrived. Answers parts to write, cut where a replay ends, each with the offset after its last byte. */
  receive(bytes) {
    const from = this.#received;
    this.#received += bytes.length;
    const cut = this.#replay === null ? 0 : this.#replay.until - from;
    if (cut <= 0 || cut >= bytes.length) return [{ bytes, end: this.#received }];
    return [
      { bytes: bytes.subarray(0, cut), end: from + cut },
      { bytes: bytes.subarray(cut), end: this.#received },
    ];
  }

  /** Bytes up to `to` will not come. */
  skip(to) {
    this.#received = Math.max(this.#received, to);
  }

  markParsed(end) {
    if (end > this.#parsed && end <= this.#received) this.#parsed = end;
  }

  /** The offset to acknowledge now, or null. `idle`: nothing more to parse, so acknowledge any remainder. */
  takeAck(idle = false) {
    const unacked = this.#parsed - this.#acked;
    if (unacked <= 0 || (!idle && unacked < this.#ackEvery)) return null;
    this.#acked = this.#parsed;
    return this.#acked;
  }
}

/** The input side: a queue of bytes that keeps what is not acknowledged, so that it can be sent again. */
export class InputQueue {
  #chunks = []; // bytes from #acked to #end
  #acked = 0;
  #sent = 0;
  #end = 0;
  #interrupts = []; // offsets of those ^C that were not sent yet; sent again they are bytes like any other
  #closings = []; // {start, from, end}: once the byte at `start` is sent, those of `from` to `end` must follow
  #joined = false; // whether an answer of the broker has fixed the offsets

  get acked() {
    return this.#acked;
  }

  /** Bytes that have not reached the host, as far as this side knows. */
  get waiting() {
    return this.#end - this.#acked;
  }

  /**
   * Adds bytes; false when there is no room, and then nothing is added. The last `closing` of them end what the first
   * begins (a bracketed paste): where the rest is dropped after the first was sent, they are sent all the same.
   */
  push(bytes, connected, closing = 0) {
    const room = (connected ? QUEUE_BYTES : INPUT_WINDOW_BYTES) - this.waiting;
    if (bytes.length > room) return false;
    if (bytes.length > 0) this.#chunks.push(bytes);
    const start = this.#end;
    this.#end += bytes.length;
    if (closing > 0) this.#closings.push({ start, from: this.#end - closing, end: this.#end });
    return true;
  }

  /** Adds a ^C that goes out as a message of its own, and counts as one byte; false when there is no room. */
  pushInterrupt(connected) {
    if (!this.push(CTRL_C, connected)) return false;
    this.#interrupts.push(this.#end - 1);
    return true;
  }

  /** Drops what was not sent yet (a paste under way), but for its closing, and says how many bytes that were. */
  dropUnsent() {
    const sent = this.#sent;
    const open = this.#closings.find(({ start, end }) => start < sent && sent < end);
    const closing = open === undefined ? NOTHING : this.#read(Math.max(open.from, sent), open.end);
    const dropped = this.#end - sent - closing.length;
    this.#chunks = [this.#read(this.#acked, sent), closing].filter((chunk) => chunk.length > 0);
    this.#end = sent + closing.length;
    this.#interrupts = [];
    this.#closings = open === undefined ? [] : [{ start: open.start, from: sent, end: this.#end }];
    return dropped;
  }

  /** The next message to send, INTERRUPT, or null when all is sent or a paste has to wait for acknowledgements. */
  next() {
    const isInterrupt = this.#interrupts[0] === this.#sent;
    const stop = isInterrupt ? this.#sent + 1 : (this.#interrupts[0] ?? this.#end);
    const length = Math.min(SLICE_BYTES, stop - this.#sent);
    if (length === 0) return null;
    const window = length > TYPED_BYTES ? INPUT_WINDOW_BYTES : TYPED_WINDOW_BYTES;
    if (this.#sent - this.#acked + length > window) return null;
    const slice = this.#read(this.#sent, this.#sent + length);
    this.#sent += length;
    if (!isInterrupt) return slice;
    this.#interrupts.shift();
    return INTERRUPT;
  }

  /** Input bytes before `offset` have reached the host. False for an offset that was never sent. */
  acknowledge(offset) {
    if (offset > this.#sent) return false;
    if (offset > this.#acked) this.#discard(offset - this.#acked);
    return true;
  }

  /**
   * A new websocket: `offset` input bytes have reached the host, the rest goes out again. Where somebody else has
   * typed in between, our offsets mean nothing any more: everything is dropped. Answers the number of bytes dropped.
   */
  resume(offset) {
    if (!this.#joined) {
      this.#rebase(offset);
      return 0;
    }
    if (offset >= this.#acked && offset <= this.#sent) {
      this.#discard(offset - this.#acked);
      this.#sent = offset;
      return 0;
    }
    const dropped = this.forget();
    this.#rebase(offset);
    return dropped;
  }

  /**
   * Somebody else types from now on; `offset` input bytes had reached the host by then. Drops everything, and answers
   * how many bytes of it the host never got.
   */
  lose(offset) {
    const reached = Math.min(Math.max(offset, this.#acked), this.#sent);
    return this.forget() - (reached - this.#acked);
  }

  /** Drops everything: another browser has the terminal. The next answer fixes the offsets anew. */
  forget() {
    const dropped = this.waiting;
    this.#chunks = [];
    this.#interrupts = [];
    this.#closings = [];
    this.#end = this.#sent = this.#acked;
    this.#joined = false;
    return dropped;
  }

  #rebase(offset) {
    const shift = offset - this.#acked;
    this.#interrupts = this.#interrupts.map((at) => at + shift);
    this.#closings = this.#closings.map(({ start, from, end }) => ({
      start: start + shift,
      from: from + shift,
      end: end + shift,
    }));
    this.#end = offset + this.waiting;
    this.#acked = this.#sent = offset;
    this.#joined = true;
  }

  #discard(count) {
    this.#acked += count;
    this.#closings = this.#closings.filter(({ end }) => end > this.#acked);
    while (count > 0) {
      const first = this.#chunks[0];
      if (first.length > count) {
        this.#chunks[0] = first.subarray(count);
        return;
      }
      count -= first.length;
      this.#chunks.shift();
    }
  }

  /** The bytes from one absolute offset to another, without a copy where they lie in one chunk. */
  #read(from, to) {
    let at = this.#acked;
    const parts = [];
    for (const chunk of this.#chunks) {
      const start = Math.max(from - at, 0);
      const stop = Math.min(to - at, chunk.length);
      if (start < stop) parts.push(chunk.subarray(start, stop));
      at += chunk.length;
      if (at >= to) break;
    }
    return parts.length === 1 ? parts[0] : concatenate(parts, to - from);
  }
}

function concatenate(parts, length) {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

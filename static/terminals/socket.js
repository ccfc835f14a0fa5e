// One terminal session over as many connections as it takes: acknowledgements, and attaching again after a connection
// is lost, so that no byte is lost or repeated either way. Knows no DOM and no terminal emulator.

import { BackOff } from "./backoff.js";
import { Connection } from "./connection.js";
import { InputQueue, OutputFlow } from "./flow.js";
import { ASK_ONCE_MORE, CLOSE, ProtocolError, ack, mayReconnect, resize } from "./protocol.js";

/** A remainder under 16 KiB is acknowledged this late: one message for a burst of echoes, not one each. */
const IDLE_ACK_MS = 50;

/**
 * States: "connecting" (never attached yet), "live", "reconnecting", "ended". `events` has a method for each thing
 * that happens:
 *   state(name), attached(message), output(bytes, parsed), gap(gap, parsed), restarted(), resized(message),
 *   notice(text), latency({roundTripMs, tunnelMs}), refused(), dropped(count), ended(ending), failed(problem).
 * `output` and `gap` must call `parsed` when the terminal has parsed what they were given, in order.
 * `ending` is {code, reason, exit}; `failed` says that REST gave no ticket, for good.
 */
export class TerminalSocket {
  #takeTicket;
  #size;
  #events;
  #output = new OutputFlow();
  #input = new InputQueue();
  #backOff = new BackOff();
  #state = "connecting";
  #connection = null;
  #role = "driver";
  #wasAttached;
  #hasSession;
  #sentSize = null;
  #exit = null;
  #refusals = 0;
  #retryTimer = 0;
  #ackTimer = 0;

  /**
   * `takeTicket` promises {ticket, socket}; `size` answers {cols, rows}. `isNew`: the first ticket opens the session.
   * Then its output is wanted from byte 0 and its queries are answered, instead of a replay; and a failure to open is
   * final, since opening twice by itself could leave shells behind.
   */
  constructor({ takeTicket, size, events, isNew }) {
    this.#takeTicket = takeTicket;
    this.#size = size;
    this.#events = events;
    this.#wasAttached = isNew;
    this.#hasSession = !isNew;
  }

  get state() {
    return this.#state;
  }

  /** Whether what the emulator says now answers old queries and must not be typed. */
  get isReplaying() {
    return this.#output.replaying;
  }

  /** Takes a ticket and attaches. */
  connect() {
    this.#disconnect();
    this.#connection = new Connection({
      takeTicket: this.#takeTicket,
      attachment: () => this.#attachment(),
      events: {
        ticket: () => {
          this.#hasSession = true;
        },
        noTicket: (problem) => this.#onNoTicket(problem),
        message: (message) => this.#handlers[message.type](message),
        output: (bytes) => this.#onOutput(bytes),
        closed: (ending) => this.#onClosed(ending),
        misunderstood: (reason) => this.#end({ code: CLOSE.BAD_MESSAGE, reason }),
      },
    });
  }

  /** Attaches again after an end that left the shell alive: what the screen lacks is sent, nothing is typed again. */
  takeBack() {
    this.#refusals = 0;
    this.#setState("reconnecting");
    this.connect();
  }

  /** Input bytes. `isInterrupt`: ^C, which overtakes a paste that is still under way. */
  send(bytes, { isInterrupt = false } = {}) {
    if (this.#state === "ended" || this.#role !== "driver") return;
    if (isInterrupt && this.#state === "live") this.#noteDropped(this.#input.dropUnsent());
    if (!this.#input.push(bytes, this.#state === "live")) this.#events.refused();
    this.#pump();
  }

  /** Tells the broker the terminal's size, if it differs from what the broker knows. */
  resize() {
    if (this.#state !== "live" || this.#role !== "driver") return;
    const size = this.#size();
    if (size.cols === this.#sentSize.cols && size.rows === this.#sentSize.rows) return;
    this.#sentSize = size;
    this.#connection.send(resize(size));
  }

  /** The network or the page came back: try at once, or find out at once whether the connection still lives. */
  wake() {
    if (this.#state === "live") this.#connection.probe();
    else this.retryNow(); // also when an attempt is under way: begun without a network, it would hang
  }

  retryNow() {
    if (this.#state === "reconnecting") this.connect();
  }

  /** Leaves for good without an event; the shell lives on at the broker. */
  close() {
    this.#state = "ended";
    this.#disconnect();
  }

  #attachment() {
    this.#sentSize = this.#size();
    return {
      size: this.#sentSize,
      outputOffset: this.#wasAttached ? this.#output.received : null,
      inputOffset: this.#wasAttached ? this.#input.acked : null,
    };
  }

  #onNoTicket(problem) {
    if (problem.isPassing && this.#hasSession) {
      this.#backOff.askedToWait(problem.retryAfterS);
      this.#scheduleRetry();
      return;
    }
    this.#setState("ended");
    this.#events.failed(problem);
  }

  #onOutput(bytes) {
    const output = this.#output;
    for (const part of output.receive(bytes)) {
      this.#events.output(part.bytes, () => this.#onParsed(output, part.end));
    }
  }

  #handlers = {
    attached: (message) => this.#onAttached(message),
    input_ack: ({ offset }) => {
      if (!this.#input.acknowledge(offset)) throw new ProtocolError("input_ack: beyond what was sent");
      this.#pump();
    },
    resized: (message) => {
      if (this.#role !== "driver") this.#events.resized(message);
    },
    replay: ({ until }) => this.#output.startReplay(until),
    gap: (gap) => this.#onGap(gap),
    viewers: () => {},
    notice: ({ text }) => this.#events.notice(text),
    pong: ({ t, tunnel_ms: tunnelMs }) =>
      this.#events.latency({ roundTripMs: performance.now() - t, tunnelMs: tunnelMs ?? null }),
    exit: (exit) => {
      this.#exit = exit;
    },
    closing: ({ retry_after: retryAfterS }) => this.#backOff.askedToWait(retryAfterS),
  };

  #onAttached(message) {
    const wasAttached = this.#wasAttached;
    const missedFrom = this.#output.received;
    this.#wasAttached = true;
    this.#role = message.role;
    this.#refusals = 0;
    this.#backOff.connected(performance.now());
    const join = this.#output.resume(message.output_offset);
    if (join === "restarts") this.#restart(message.output_offset);
    this.#output.setWindow(message.window);
    if (join === "skips" && wasAttached) this.#announceGap({ from: missedFrom, to: message.output_offset, reason: "ring" });
    this.#noteDropped(this.#input.resume(message.input_offset));
    this.#setState("live");
    this.#events.attached(message);
    this.resize();
    this.#pump();
  }

  /** Anew, since what the emulator still has in its queue must not count as parsed of what comes again. */
  #restart(offset) {
    this.#output = new OutputFlow();
    this.#output.resume(offset);
    this.#events.restarted();
  }

  #onGap(gap) {
    if (gap.to <= this.#output.received) return; // already announced when the new connection skipped them
    this.#output.skip(gap.to);
    this.#announceGap(gap);
  }

  #announceGap(gap) {
    const output = this.#output;
    this.#events.gap(gap, () => this.#onParsed(output, gap.to));
  }

  #onParsed(output, end) {
    output.markParsed(end);
    if (this.#state !== "live") return;
    this.#acknowledge(output.takeAck());
    if (this.#ackTimer !== 0) return;
    this.#ackTimer = setTimeout(() => {
      this.#ackTimer = 0;
      this.#acknowledge(this.#output.takeAck(true));
    }, IDLE_ACK_MS);
  }

  #acknowledge(offset) {
    if (offset !== null) this.#connection.send(ack(offset));
  }

  #noteDropped(count) {
    if (count > 0) this.#events.dropped(count);
  }

  #pump() {
    if (this.#state !== "live") return;
    for (let slice = this.#input.next(); slice !== null; slice = this.#input.next()) this.#connection.send(slice);
  }

  #onClosed({ code, reason }) {
    if (this.#exit !== null) this.#end({ code: CLOSE.ENDED, reason });
    else if (ASK_ONCE_MORE.has(code) ? ++this.#refusals === 1 : mayReconnect(code)) this.#scheduleRetry();
    else this.#end({ code, reason });
  }

  #scheduleRetry() {
    this.#disconnect();
    this.#retryTimer = setTimeout(() => this.connect(), this.#backOff.next(performance.now(), Math.random()));
    this.#setState("reconnecting");
  }

  #end({ code, reason }) {
    this.#disconnect();
    if (code === CLOSE.TAKEN_OVER) this.#input.forget();
    this.#setState("ended");
    this.#events.ended({ code, reason, exit: this.#exit });
  }

  #disconnect() {
    this.#connection?.drop();
    this.#connection = null;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#ackTimer);
    this.#ackTimer = 0;
  }

  #setState(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#events.state(state);
  }
}

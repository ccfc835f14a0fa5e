// One terminal session over as many connections as it takes: acknowledgements, interrupts, and attaching again after a
// connection is lost, so that no byte is lost or repeated either way. Knows no DOM and no terminal emulator.

import { BackOff } from "./backoff.js";
import { Connection } from "./connection.js";
import { INTERRUPT, InputQueue, OutputFlow } from "./flow.js";
import { OutputQueue } from "./output.js";
import { ASK_ONCE_MORE, CLOSE, ProtocolError, ack, askRole, interrupt, mayReconnect, resize, stay } from "./protocol.js";

/** A remainder under 16 KiB is acknowledged this late: one message for a burst of echoes, not one each. */
const IDLE_ACK_MS = 50;

/**
 * States: "connecting" (never attached yet), "live", "reconnecting", "ended". `events` has a method for each thing
 * that happens:
 *   state(name), attached(message), output(bytes, parsed), gap(gap, parsed), screen(sequence, parsed), restarted(),
 *   resized(size, parsed), role(role), viewers(message), notice(text), latency({roundTripMs, tunnelMs}), limit({kind, in_s}), input({waiting}), refused(),
 *   dropped(count), ended(ending), failed(problem).
 * `output`, `gap`, `screen` and `resized` must call `parsed` when the terminal has parsed what they were given, in order.
 * `input` says how many input bytes have not reached the host. `ending` is {code, reason, exit}; `failed` says that
 * REST gave no ticket, for good.
 */
export class TerminalSocket {
  #takeTicket;
  #size;
  #events;
  #output;
  #queue;
  #input = new InputQueue();
  #backOff = new BackOff();
  #state = "connecting";
  #connection = null;
  #role;
  #wasAttached;
  #hasSession;
  #sentSize = null;
  #exit = null;
  #graceS = null;
  #loss = null;
  #refusals = 0;
  #retryTimer = 0;
  #ackTimer = 0;

  /**
   * `takeTicket(role)` promises {ticket, socket}; `size` answers {cols, rows}. `role` is what is asked for at first: what
   * is typed before the broker has answered is kept for a driver. `isNew`: the first ticket opens the session.
   * Then its output is wanted from byte 0 and its queries are answered, instead of a replay; and a failure to open is
   * final, since opening twice by itself could leave shells behind.
   */
  constructor({ takeTicket, size, events, isNew, role = "driver" }) {
    this.#takeTicket = takeTicket;
    this.#size = size;
    this.#events = events;
    this.#role = role;
    this.#wasAttached = isNew;
    this.#hasSession = !isNew;
    this.#startOutput();
  }

  get state() {
    return this.#state;
  }

  /** "driver" or "watcher"; before the broker has said it, what was asked for. */
  get role() {
    return this.#role;
  }

  /** Input bytes that have not reached the host, as far as this page knows. */
  get waiting() {
    return this.#input.waiting;
  }

  /**
   * How the connection was lost, until there is one again, else null: {at, graceS, isDraining}. `at` is when the broker
   * was last heard of (by Date.now), `graceS` how long the shell waits from then, null where that is not known.
   */
  get loss() {
    return this.#loss;
  }

  /** What the attempt to attach that is under way, or failed, was about: {isAttaching, isDrained}, see `describeProblem`. */
  get attempt() {
    return { isAttaching: this.#hasSession, isDrained: this.#loss?.isDraining ?? false };
  }

  /** Whether what the emulator says now answers old queries and must not be typed. */
  get isReplaying() {
    return this.#output.replaying || this.#queue.isRestoring;
  }

  /** Takes a ticket and attaches. */
  connect() {
    this.#disconnect();
    this.#connection = new Connection({
      takeTicket: () => this.#takeTicket(this.#role),
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

  /**
   * Input bytes. `closing`: how many at their end must reach the host once the first did, even where the rest is
   * dropped (the end of a bracketed paste).
   */
  send(bytes, { closing = 0 } = {}) {
    if (!this.#mayType()) return;
    if (!this.#input.push(bytes, this.#state === "live", closing)) this.#events.refused();
    this.#pump();
  }

  /** ^C: it overtakes a paste that is still under way, and output that is not on the screen yet. */
  interrupt() {
    if (!this.#mayType()) return;
    if (this.#state === "live") this.dropUnsent();
    if (!this.#input.pushInterrupt(this.#state === "live")) this.#events.refused();
    this.#pump();
  }

  /** Drops what was not sent yet of a paste, and tells how much that was by the event `dropped`. */
  dropUnsent() {
    this.#noteDropped(this.#input.dropUnsent());
    this.#pump();
  }

  /** Somebody is there, though nothing is typed. */
  stay() {
    if (this.#state === "live" && this.#role === "driver") this.#connection.send(stay());
  }

  /** Asks for the keyboard ("driver") or gives it away ("watcher"). The broker says what comes of it. */
  askRole(role) {
    if (this.#state === "live") this.#connection.send(askRole(role));
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
    this.#queue.discard();
    this.#disconnect();
  }

  #mayType() {
    return this.#state !== "ended" && this.#role === "driver";
  }

  /** Anew, also since what an emulator still has in its queue must not count as parsed of what comes again. */
  #startOutput() {
    const output = new OutputFlow();
    this.#output = output;
    this.#queue = new OutputQueue(this.#events, (end) => this.#onParsed(output, end));
  }

  #attachment() {
    this.#sentSize = this.#size();
    return {
      size: this.#sentSize,
      outputOffset: this.#wasAttached ? this.#output.received : null,
      inputOffset: this.#wasAttached && this.#role === "driver" ? this.#input.acked : null,
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
    for (const part of this.#output.receive(bytes)) this.#queue.add(part.bytes, part.end);
  }

  #handlers = {
    attached: (message) => this.#onAttached(message),
    input_ack: ({ offset }) => {
      if (this.#role !== "driver") return; // on its way when the keyboard went to somebody else
      if (!this.#input.acknowledge(offset)) throw new ProtocolError("input_ack: beyond what was sent");
      this.#pump();
      this.#events.input({ waiting: this.waiting });
    },
    resized: (message) => {
      if (this.#role !== "driver") this.#queue.addSize(message);
    },
    replay: ({ until }) => this.#output.startReplay(until),
    gap: (gap) => this.#onGap(gap),
    screen: ({ sequence }) => this.#queue.addScreen(sequence),
    limit: (limit) => this.#events.limit(limit),
    viewers: (message) => this.#events.viewers(message),
    role: (message) => this.#onRole(message),
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
    this.#graceS = message.grace ?? null;
    this.#loss = null;
    this.#refusals = 0;
    this.#backOff.connected(performance.now());
    const join = this.#output.resume(message.output_offset);
    if (join === "restarts") this.#restart(message.output_offset);
    this.#output.setWindow(message.window);
    if (join === "skips" && wasAttached) this.#queue.addGap({ from: missedFrom, to: message.output_offset, reason: "ring" });
    const isDriver = this.#role === "driver";
    this.#noteDropped(isDriver ? this.#input.resume(message.input_offset) : this.#input.lose(message.input_offset));
    this.#setState("live");
    this.#events.attached(message);
    if (!isDriver) this.#queue.addSize(message);
    this.resize();
    this.#pump();
    this.#events.input({ waiting: this.waiting });
  }

  /** The keyboard came, or went. What was typed and not sent does not wait for it to come back. */
  #onRole({ role, input_offset: inputOffset, cols, rows }) {
    const hadIt = this.#role === "driver";
    const hasIt = role === "driver";
    this.#role = role;
    if (hadIt && !hasIt) this.#noteDropped(this.#input.lose(inputOffset));
    if (hasIt && !hadIt) this.#input.resume(inputOffset);
    if (hasIt) this.#sentSize = { cols, rows };
    this.#events.role(role);
    if (!hasIt) this.#queue.addSize({ cols, rows });
    this.resize();
    this.#events.input({ waiting: this.waiting });
  }

  #restart(offset) {
    this.#queue.discard();
    this.#startOutput();
    this.#output.resume(offset);
    this.#events.restarted();
  }

  #onGap(gap) {
    const { received } = this.#output;
    if (gap.from > received || gap.to < received) throw new ProtocolError("gap: not where the output is");
    // On an interrupt the broker drops what it has; what is here and not yet with the emulator is older still.
    const stale = gap.reason === "interrupt" ? this.#queue.discard() : 0;
    this.#output.skip(gap.to);
    const from = received - stale; // or later than the gap's own, where the new connection announced that it skips
    if (from < gap.to) this.#queue.addGap({ from, to: gap.to, reason: gap.reason });
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
    for (let next = this.#input.next(); next !== null; next = this.#input.next()) {
      this.#connection.send(next === INTERRUPT ? interrupt() : next);
    }
  }

  #onClosed({ code, reason, heardAt }) {
    if (this.#exit !== null) this.#end({ code: CLOSE.ENDED, reason });
    else if (ASK_ONCE_MORE.has(code) ? ++this.#refusals === 1 : mayReconnect(code)) this.#onLost(code, heardAt);
    else this.#end({ code, reason });
  }

  #onLost(code, heardAt) {
    this.#loss ??= { at: heardAt, graceS: this.#graceS, isDraining: code === CLOSE.DRAINING };
    this.#scheduleRetry();
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

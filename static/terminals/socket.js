// One terminal session over as many websockets as it takes: framing, acknowledgements, and attaching again after a
// connection is lost, so that no byte is lost or repeated either way. Knows no DOM and no terminal emulator.

import { InputQueue, OutputFlow } from "./flow.js";
import { CLOSE, SUBPROTOCOL, ProtocolError, ack, attach, mayReconnect, parseMessage, ping, resize } from "./protocol.js";

const RETRY_FIRST_MS = 250;
const RETRY_MOST_MS = 8_000;
/** A connection that lived shorter than this does not reset the back-off. */
const STABLE_MS = 5_000;
const ATTACH_TIMEOUT_MS = 15_000;
/** A remainder under 16 KiB is acknowledged this late: one message for a burst of echoes, not one each. */
const IDLE_ACK_MS = 50;
const PING_EVERY_MS = 15_000;
/** How long a connection may stay silent after a probe when the page wakes up. */
const PROBE_MS = 5_000;
const RETRY_AFTER_MOST_S = 60;

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
  #state = "connecting";
  #websocket = null;
  #role = "driver";
  #wasAttached;
  #hasSession;
  #sentSize = null;
  #exit = null;
  #retryAfterS = 0;
  #tries = 0;
  #ticketRefusals = 0;
  #liveSince = 0;
  #heardAt = 0;
  #pingedAt = 0;
  #attempt = 0; // counts connection attempts, so that an answer to an abandoned one is ignored
  #timers = { retry: 0, attach: 0, ack: 0, ping: 0, probe: 0 };

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
    this.#clearTimers();
    const attempt = ++this.#attempt;
    this.#takeTicket().then(
      (fresh) => attempt === this.#attempt && this.#dial(fresh),
      (problem) => attempt === this.#attempt && this.#onNoTicket(problem),
    );
  }

  /** Attaches again after the terminal was taken over: what the screen lacks is sent, nothing is typed again. */
  takeBack() {
    this.#ticketRefusals = 0;
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
    if (size.cols === this.#sentSize?.cols && size.rows === this.#sentSize?.rows) return;
    this.#sentSize = size;
    this.#websocket.send(resize(size));
  }

  /** The network or the page came back: try at once, or find out at once whether the connection still lives. */
  wake() {
    if (this.#state === "live") this.#probe();
    else if (this.#state === "reconnecting" && this.#websocket === null) this.retryNow();
  }

  retryNow() {
    if (this.#state !== "reconnecting") return;
    this.#abandon();
    this.connect();
  }

  /** Leaves for good without an event; the shell lives on at the broker. */
  close() {
    this.#state = "ended";
    this.#abandon();
    this.#clearTimers();
  }

  #dial({ ticket, socket }) {
    this.#hasSession = true;
    let websocket;
    try {
      websocket = new WebSocket(socket, SUBPROTOCOL);
    } catch {
      this.#end({ code: CLOSE.ABNORMAL, reason: `the broker named an address that cannot be opened: ${socket}` });
      return;
    }
    websocket.binaryType = "arraybuffer";
    websocket.onopen = () => this.#sendAttach(ticket);
    websocket.onmessage = ({ data }) => this.#onMessage(data);
    websocket.onclose = ({ code, reason }) => this.#onClose(code, reason);
    this.#websocket = websocket;
    this.#timers.attach = setTimeout(() => this.#lose("no answer to attach"), ATTACH_TIMEOUT_MS);
  }

  #sendAttach(ticket) {
    this.#sentSize = this.#size();
    const outputOffset = this.#wasAttached ? this.#output.received : null;
    const inputOffset = this.#wasAttached ? this.#input.acked : null;
    this.#websocket.send(attach(ticket, this.#sentSize, outputOffset, inputOffset));
  }

  #onNoTicket(problem) {
    if (problem.isPassing && this.#hasSession) {
      this.#retryAfterS = problem.retryAfterS ?? 0;
      this.#scheduleRetry();
      return;
    }
    this.#setState("ended");
    this.#events.failed(problem);
  }

  #onMessage(data) {
    this.#heardAt = performance.now();
    if (data instanceof ArrayBuffer) {
      this.#onOutput(new Uint8Array(data));
      return;
    }
    try {
      const message = parseMessage(data);
      if (message !== null) this.#handlers[message.type](message);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#abandon();
      this.#end({ code: CLOSE.BAD_MESSAGE, reason: `the broker sent a message that this page cannot read (${error.message})` });
    }
  }

  #onOutput(bytes) {
    for (const part of this.#output.receive(bytes)) {
      this.#events.output(part.bytes, () => this.#onParsed(part.end));
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
    closing: ({ retry_after: retryAfterS }) => {
      this.#retryAfterS = retryAfterS ?? 0;
    },
  };

  #onAttached(message) {
    clearTimeout(this.#timers.attach);
    const wasAttached = this.#wasAttached;
    const missedFrom = this.#output.received;
    this.#wasAttached = true;
    this.#role = message.role;
    this.#ticketRefusals = 0;
    this.#liveSince = performance.now();
    this.#output.setWindow(message.window);
    const join = this.#output.resume(message.output_offset);
    if (join === "restarts") this.#events.restarted();
    if (join === "skips" && wasAttached) this.#announceGap({ from: missedFrom, to: message.output_offset, reason: "ring" });
    this.#noteDropped(this.#input.resume(message.input_offset));
    this.#setState("live");
    this.#events.attached(message);
    this.resize();
    this.#pump();
    this.#ping();
  }

  #onGap(gap) {
    if (gap.to <= this.#output.received) return; // already announced when the new connection skipped them
    this.#output.skip(gap.to);
    this.#announceGap(gap);
  }

  #announceGap(gap) {
    this.#events.gap(gap, () => this.#onParsed(gap.to));
  }

  #onParsed(end) {
    this.#output.markParsed(end);
    if (this.#state !== "live") return;
    this.#acknowledge(false);
    if (this.#timers.ack === 0) {
      this.#timers.ack = setTimeout(() => {
        this.#timers.ack = 0;
        this.#acknowledge(true);
      }, IDLE_ACK_MS);
    }
  }

  #acknowledge(idle) {
    const offset = this.#state === "live" ? this.#output.takeAck(idle) : null;
    if (offset !== null) this.#websocket.send(ack(offset));
  }

  #noteDropped(count) {
    if (count > 0) this.#events.dropped(count);
  }

  #pump() {
    if (this.#state !== "live") return;
    for (let slice = this.#input.next(); slice !== null; slice = this.#input.next()) this.#websocket.send(slice);
  }

  #ping() {
    clearTimeout(this.#timers.ping);
    this.#timers.ping = setTimeout(() => this.#beat(), PING_EVERY_MS);
    this.#pingedAt = performance.now();
    this.#websocket.send(ping(this.#pingedAt));
  }

  #beat() {
    if (this.#heardAt < this.#pingedAt) this.#lose("no answer to ping");
    else this.#ping();
  }

  #probe() {
    this.#ping();
    clearTimeout(this.#timers.probe);
    this.#timers.probe = setTimeout(() => {
      if (this.#heardAt < this.#pingedAt) this.#lose("no answer to ping");
    }, PROBE_MS);
  }

  #lose(reason) {
    this.#abandon();
    this.#onClose(CLOSE.ABNORMAL, reason);
  }

  #onClose(code, reason) {
    this.#abandon();
    if (code === CLOSE.BAD_TICKET && ++this.#ticketRefusals > 1) this.#end({ code, reason });
    else if (mayReconnect(code) && this.#exit === null) this.#scheduleRetry();
    else this.#end({ code: this.#exit === null ? code : CLOSE.ENDED, reason });
  }

  #scheduleRetry() {
    this.#clearTimers();
    if (this.#liveSince > 0 && performance.now() - this.#liveSince > STABLE_MS) this.#tries = 0;
    this.#liveSince = 0;
    const backOffMs = Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** this.#tries) * (0.5 + Math.random() / 2);
    const waitMs = Math.max(backOffMs, Math.min(this.#retryAfterS, RETRY_AFTER_MOST_S) * 1000);
    this.#tries += 1;
    this.#retryAfterS = 0;
    this.#timers.retry = setTimeout(() => this.connect(), waitMs);
    this.#setState("reconnecting");
  }

  #end({ code, reason }) {
    this.#clearTimers();
    if (code === CLOSE.TAKEN_OVER) this.#input.forget();
    this.#setState("ended");
    this.#events.ended({ code, reason, exit: this.#exit });
  }

  /** Drops the websocket without hearing from it again. */
  #abandon() {
    this.#attempt += 1;
    const websocket = this.#websocket;
    this.#websocket = null;
    if (websocket === null) return;
    websocket.onopen = websocket.onmessage = websocket.onclose = null;
    websocket.close();
  }

  #clearTimers() {
    for (const name of Object.keys(this.#timers)) {
      clearTimeout(this.#timers[name]);
      this.#timers[name] = 0;
    }
  }

  #setState(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#events.state(state);
  }
}

// One attempt to attach to a terminal session, and the websocket that comes of it: ticket, attach, framing, heartbeat.
// Once over, or dropped, it says nothing more. Knows no offsets.

import { Heartbeat } from "./heartbeat.js";
import { CLOSE, ProtocolError, SUBPROTOCOL, attach, parseMessage, ping } from "./protocol.js";

const ATTACH_TIMEOUT_MS = 15_000;

/**
 * `events`: ticket(), noTicket(problem), message(message), output(bytes), closed({code, reason, heardAt}) and
 * misunderstood(reason), of which noTicket, closed and misunderstood are the end. `heardAt` is when the broker last said
 * something, by Date.now: before a sleep, a connection that did not survive it.
 */
export class Connection {
  #events;
  #attachment;
  #websocket = null;
  #isOver = false;
  #attachTimer = 0;
  #heartbeat = new Heartbeat(
    (t) => this.send(ping(t)),
    () => this.#lose("no answer to ping"),
  );

  /** `takeTicket` promises {ticket, socket}; `attachment` answers {size, outputOffset, inputOffset} when it is time. */
  constructor({ takeTicket, attachment, events }) {
    this.#attachment = attachment;
    this.#events = events;
    takeTicket().then(
      (fresh) => this.#isOver || this.#dial(fresh),
      (problem) => this.#isOver || this.#finish(() => this.#events.noTicket(problem)),
    );
  }

  /** A control message or input bytes; only after `attached`. What comes while it closes is lost, as on the way. */
  send(data) {
    if (this.#websocket.readyState === WebSocket.OPEN) this.#websocket.send(data);
  }

  /** Finds out soon whether it still lives. */
  probe() {
    this.#heartbeat.probe();
  }

  /** Ends it without an event. */
  drop() {
    this.#isOver = true;
    this.#heartbeat.stop();
    clearTimeout(this.#attachTimer);
    if (this.#websocket === null) return;
    this.#websocket.onopen = this.#websocket.onmessage = this.#websocket.onclose = null;
    this.#websocket.close();
  }

  #dial({ ticket, socket }) {
    this.#events.ticket();
    try {
      this.#websocket = new WebSocket(socket, SUBPROTOCOL);
    } catch {
      this.#finish(() => this.#events.misunderstood(`the broker named an address that cannot be opened: ${socket}`));
      return;
    }
    this.#websocket.binaryType = "arraybuffer";
    this.#websocket.onopen = () => this.send(attach(ticket, this.#attachment()));
    this.#websocket.onmessage = ({ data }) => this.#onMessage(data);
    this.#websocket.onclose = ({ code, reason }) => this.#close(code, reason);
    this.#attachTimer = setTimeout(() => this.#lose("no answer to attach"), ATTACH_TIMEOUT_MS);
  }

  #onMessage(data) {
    this.#heartbeat.heard();
    if (data instanceof ArrayBuffer) {
      this.#events.output(new Uint8Array(data));
      return;
    }
    try {
      const message = parseMessage(data);
      if (message === null) return;
      if (message.type === "attached") this.#onAttached();
      this.#events.message(message);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      const reason = `the broker sent a message that this page cannot read (${error.message})`;
      this.#finish(() => this.#events.misunderstood(reason));
    }
  }

  #onAttached() {
    clearTimeout(this.#attachTimer);
    this.#heartbeat.start();
  }

  #lose(reason) {
    this.#close(CLOSE.ABNORMAL, reason);
  }

  #close(code, reason) {
    this.#finish(() => this.#events.closed({ code, reason, heardAt: this.#heartbeat.heardAt }));
  }

  #finish(tell) {
    this.drop();
    tell();
  }
}

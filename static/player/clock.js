// Plays a recording on a screen: what the time is, and what must be written for it. Knows no page.

import { lastNotAfter } from "./time.js";

/** With idle time skipped, a pause is as long as this at the most. */
const PAUSE_S = 1;
/** Most that is drawn for one picture of the browser: more would make it stand still. */
const BATCH_CHARACTERS = 256 * 1024;
/** A picture that comes later than this was not awaited by anybody: the tab was hidden. */
const LATE_S = 0.5;

/** `changed` is called whenever the time is another, or whether it plays; `failed(error)` when a part did not come. */
export class Clock {
  #recording;
  #screen;
  #facts;
  #changed;
  #failed;
  #segment = null;
  #next = 0; // of the segment's events, the one to be shown next
  #seeking = 0;
  #isBusy = false;
  #pictureAt = 0;
  #frame = 0;

  time = 0;
  isPlaying = false;
  speed = 1;
  skipsIdle = true;

  constructor(recording, screen, facts, { changed, failed }) {
    this.#recording = recording;
    this.#screen = screen;
    this.#facts = facts;
    this.#changed = changed;
    this.#failed = failed;
  }

  get duration() {
    return this.#facts.duration;
  }

  async play() {
    if (this.isPlaying) return;
    if (this.time >= this.duration) await this.seek(0);
    this.isPlaying = true;
    this.#pictureAt = performance.now();
    this.#changed();
    this.#frame = requestAnimationFrame((now) => this.#tick(now));
  }

  pause() {
    if (!this.isPlaying) return;
    this.isPlaying = false;
    cancelAnimationFrame(this.#frame);
    this.#changed();
  }

  /** Shows the screen as it was at `time`; false where it could not. A later call overtakes an earlier one. */
  async seek(time) {
    const turn = (this.#seeking += 1);
    this.time = Math.min(Math.max(time, 0), this.duration);
    this.#changed();
    try {
      await this.#show(this.time, turn);
      return true;
    } catch (error) {
      if (turn === this.#seeking) this.#failed(error);
      return false;
    }
  }

  async #show(time, turn) {
    const n = lastNotAfter(this.#facts.keys, time);
    const isAhead = this.#segment?.n === n && (this.#next === 0 || this.#segment.events[this.#next - 1][0] <= time);
    if (!isAhead || this.#isBusy) {
      const segment = await this.#recording.segment(n);
      if (turn !== this.#seeking) return;
      this.#segment = segment;
      this.#next = 0;
      await this.#screen.begin(segment);
    }
    while (turn === this.#seeking && this.#upTo(time) > this.#next) await this.#draw(this.#upTo(time), turn);
    if (turn === this.#seeking) this.#changed();
  }

  #tick(now) {
    if (!this.isPlaying) return;
    const passed = (now - this.#pictureAt) / 1000;
    this.#pictureAt = now;
    if (!this.#isBusy && passed < LATE_S) this.#advance(passed * this.speed);
    this.#frame = requestAnimationFrame((later) => this.#tick(later));
  }

  /** What has to be drawn holds the time back: nothing is left out. */
  async #advance(seconds) {
    const turn = this.#seeking;
    this.#isBusy = true;
    try {
      let time = Math.min(this.time + seconds, this.duration);
      const next = Math.min(await this.#upcoming(turn), this.duration);
      if (turn !== this.#seeking) return;
      if (this.skipsIdle && next - time > PAUSE_S) time = Math.min(next - PAUSE_S * 0.3, this.duration);
      this.time = time;
      while (turn === this.#seeking && (await this.#upcoming(turn)) <= time) await this.#draw(this.#upTo(time), turn);
      if (turn === this.#seeking && time >= this.duration) this.pause();
    } catch (error) {
      this.pause();
      this.#failed(error);
    } finally {
      this.#isBusy = false;
      this.#changed();
    }
  }

  /** When the next event comes, Infinity where none does; goes on to the next segment where this one is over. */
  async #upcoming(turn) {
    while (this.#segment === null || this.#next >= this.#segment.events.length) {
      const n = this.#segment === null ? lastNotAfter(this.#facts.keys, this.time) : this.#segment.n + 1;
      if (n >= this.#facts.keys.length) return Infinity;
      const isFirst = this.#segment === null;
      const segment = await this.#recording.segment(n);
      if (turn !== this.#seeking) return Infinity;
      this.#segment = segment;
      this.#next = 0;
      if (isFirst) await this.#screen.begin(segment);
      if (n + 1 < this.#facts.keys.length) this.#recording.segment(n + 1).catch(() => {}); // it is asked for again
    }
    return this.#segment.events[this.#next][0];
  }

  /** Index after the last event that is not after `time`. */
  #upTo(time) {
    const { events } = this.#segment;
    let end = this.#next;
    while (end < events.length && events[end][0] <= time) end += 1;
    return end;
  }

  /** Events before `end`, a batch of them: output as one text, up to the next change of size. */
  async #draw(end, turn) {
    const { events } = this.#segment;
    let text = "";
    while (this.#next < end && text.length < BATCH_CHARACTERS) {
      const [, kind, data] = events[this.#next];
      if (kind === "r") break;
      if (kind === "o") text += data;
      this.#next += 1;
    }
    if (text !== "") await this.#screen.write(text);
    if (turn !== this.#seeking || this.#next >= end || events[this.#next][1] !== "r") return;
    const size = /^(\d{1,9})x(\d{1,9})$/.exec(events[this.#next][2]);
    if (size !== null) this.#screen.resize(Number(size[1]), Number(size[2]));
    this.#next += 1;
  }
}

// The seek bar: where one is, idle time as shade, marks as ticks. The slider itself is the browser's.

import { formatTime } from "./time.js";

const WIDTH = 1000; // units of the drawing
const HEIGHT = 20;
const MAX_SHAPES = 1000;
const SVG = "http://www.w3.org/2000/svg";

export class Bar {
  #slider;
  #duration;
  isHeld = false;

  /** `seek(time)` is called when the person moves it. */
  constructor(element, facts, seek) {
    this.#duration = facts.duration;
    this.#slider = element.querySelector("input");
    this.#slider.max = String(facts.duration);
    this.#draw(element.querySelector("svg"), facts);
    this.#slider.addEventListener("input", () => {
      this.isHeld = true;
      this.#name(Number(this.#slider.value));
      seek(Number(this.#slider.value));
    });
    for (const name of ["change", "pointerup", "blur"]) {
      this.#slider.addEventListener(name, () => {
        this.isHeld = false;
      });
    }
  }

  show(time) {
    if (!this.isHeld) this.#slider.value = String(time);
    this.#name(time);
  }

  #name(time) {
    this.#slider.setAttribute("aria-valuetext", `${formatTime(time)} of ${formatTime(this.#duration)}`);
  }

  #draw(svg, { idle, marks, sizes }) {
    const at = (time) => (time / Math.max(this.#duration, 0.001)) * WIDTH;
    const add = (name, from, to) => {
      const shape = document.createElementNS(SVG, "rect");
      shape.setAttribute("class", name);
      shape.setAttribute("x", String(from));
      shape.setAttribute("y", "0");
      shape.setAttribute("width", String(Math.max(to - from, 2)));
      shape.setAttribute("height", String(HEIGHT));
      svg.append(shape);
    };
    for (const [from, to] of idle.slice(0, MAX_SHAPES)) add("idle", at(from), at(to));
    for (const [time] of sizes.slice(0, MAX_SHAPES)) add("size", at(time), at(time));
    for (const [time] of marks.slice(0, MAX_SHAPES)) add("mark", at(time), at(time));
  }
}

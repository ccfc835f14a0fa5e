// The line between two panes, moved by dragging or with the arrow keys.

/** Of the split's length, for one press of a key. */
const KEY_STEP = 0.02;

/** `onMove(fraction)` hears by how much of `lengthPx()` it was moved, `onLeft()` that the keyboard should leave it. */
export class Divider {
  element = document.createElement("div");
  #onMove;
  #lengthPx;
  #draggedFrom = null;

  constructor({ onMove, lengthPx, onLeft }) {
    this.#onMove = onMove;
    this.#lengthPx = lengthPx;
    this.element.className = "divider";
    this.element.role = "separator";
    this.element.tabIndex = 0;
    this.element.ariaValueMin = "0";
    this.element.ariaValueMax = "100";
    this.element.addEventListener("keydown", (event) => (event.key === "Escape" ? onLeft() : this.#onKey(event)));
    this.element.addEventListener("pointerdown", (event) => this.#grasp(event));
    this.element.addEventListener("pointermove", (event) => this.#drag(event));
    this.element.addEventListener("lostpointercapture", () => this.#letGo());
  }

  /** Lies where a divider of the layout says. */
  place({ axis, left, top, length, share }) {
    const isVertical = axis === "row";
    this.element.ariaOrientation = isVertical ? "vertical" : "horizontal";
    this.element.ariaLabel = isVertical ? "Divider between left and right" : "Divider between above and below";
    this.element.ariaValueNow = String(Math.round(share * 100));
    const { style } = this.element;
    style.left = percent(left);
    style.top = percent(top);
    style.width = isVertical ? "" : percent(length);
    style.height = isVertical ? percent(length) : "";
  }

  get #isVertical() {
    return this.element.ariaOrientation === "vertical";
  }

  #onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const [less, more] = this.#isVertical ? ["ArrowLeft", "ArrowRight"] : ["ArrowUp", "ArrowDown"];
    if (event.key !== less && event.key !== more) return;
    event.preventDefault();
    this.#onMove(event.key === more ? KEY_STEP : -KEY_STEP);
  }

  #grasp(event) {
    if (event.button !== 0) return;
    event.preventDefault(); // the keyboard stays where it is, and no text is selected
    this.element.setPointerCapture(event.pointerId);
    this.element.dataset.dragged = "";
    this.#draggedFrom = this.#at(event);
  }

  #drag(event) {
    if (this.#draggedFrom === null) return;
    const at = this.#at(event);
    this.#onMove((at - this.#draggedFrom) / this.#lengthPx());
    this.#draggedFrom = at;
  }

  #letGo() {
    delete this.element.dataset.dragged;
    this.#draggedFrom = null;
  }

  #at(event) {
    return this.#isVertical ? event.clientX : event.clientY;
  }
}

function percent(fraction) {
  return `${fraction * 100}%`;
}

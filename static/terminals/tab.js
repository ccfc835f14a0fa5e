// One tab: its panes, laid out in a stage of their own. Panes never move within the document, since that would take
// the keyboard from them; they are placed by their rectangles.

import { Divider } from "./divider.js";
import { dividers, lengthOf, moveDivider, neighbour, panesOf, rectangles, remove, rename, split } from "./layout.js";

/** On small screens panes lie below each other, each at least this high. */
const STACKED_LEAST_PX = 180;

const narrow = window.matchMedia("(max-width: 640px)");

let count = 0;

export class Tab {
  element = document.createElement("section");
  /** What happened in it while it was not shown: "", "activity" or "bell". */
  mark = "";
  /** The pane that has the keyboard when the tab is shown. */
  active;
  #panes = new Map();
  #layout;
  #dividers = [];
  #onMoved;

  /** `onMoved()` hears that a divider was moved. */
  constructor(onMoved) {
    count += 1;
    this.#onMoved = onMoved;
    this.element.className = "stage";
    this.element.id = `stage-${count}`;
    this.element.role = "tabpanel";
    this.element.setAttribute("aria-labelledby", `tab-${count}`);
    narrow.addEventListener("change", this.#place);
  }

  /** Of its button in the strip. */
  get id() {
    return this.element.id.replace("stage", "tab");
  }

  /** In reading order. */
  get panes() {
    return this.#layout ? panesOf(this.#layout).map((id) => this.#panes.get(id)) : [];
  }

  /** {layout, panes, active} as `memory.js` keeps it. */
  get picture() {
    const { panes } = this;
    const names = new Map(panes.map((pane, at) => [pane.id, String(at)]));
    return {
      layout: rename(this.#layout, names),
      panes: panes.map(({ host, login, session }) => ({ host, login, session })),
      active: panes.indexOf(this.active),
    };
  }

  /** Fills the tab with panes as they were: `layout` names them by their place in the list. */
  fill(panes, layout, active) {
    for (const pane of panes) this.#panes.set(pane.id, pane);
    this.#layout = rename(layout, new Map(panes.map((pane, at) => [String(at), pane.id])));
    this.active = active;
    this.element.append(...this.panes.map((pane) => pane.element));
    this.#place();
  }

  /** Gives a new pane half of the room of another: on its right (axis "row") or below it ("column"). */
  split(pane, axis, added) {
    this.#panes.set(added.id, added);
    this.#layout = split(this.#layout, pane.id, axis, added.id);
    pane.element.after(added.element);
    this.active = added;
    this.#place();
  }

  /** Lets go of a pane. Its neighbour becomes the active one. */
  remove(pane) {
    const { panes } = this;
    const at = panes.indexOf(pane);
    this.#panes.delete(pane.id);
    this.#layout = remove(this.#layout, pane.id);
    if (this.active === pane) this.active = panes[at - 1] ?? panes[at + 1] ?? null;
    if (this.#layout !== null) this.#place();
  }

  /** The pane next to the active one in a direction, or null. */
  beside(direction) {
    const id = narrow.matches ? null : neighbour(this.#layout, this.active.id, direction);
    if (id !== null) return this.#panes.get(id);
    const step = { up: -1, down: 1 }[direction];
    return (narrow.matches && this.panes[this.panes.indexOf(this.active) + step]) || null;
  }

  /** Goes away; its panes are gone by now. */
  close() {
    narrow.removeEventListener("change", this.#place);
    this.element.remove();
  }

  #place = () => {
    const ids = panesOf(this.#layout);
    this.element.toggleAttribute("data-several", ids.length > 1);
    if (narrow.matches) ids.forEach((id, at) => stack(this.#panes.get(id).element, at, ids.length));
    else for (const [id, place] of rectangles(this.#layout)) put(this.#panes.get(id).element, place);
    this.#placeDividers();
  };

  /** By their number, so that the one that is being dragged stays the same element. */
  #placeDividers() {
    const wanted = dividers(this.#layout);
    while (this.#dividers.length > wanted.length) this.#dividers.pop().element.remove();
    while (this.#dividers.length < wanted.length) this.#dividers.push(this.#newDivider(this.#dividers.length));
    wanted.forEach((line, at) => this.#dividers[at].place(line));
  }

  #newDivider(number) {
    const line = () => dividers(this.#layout)[number];
    const divider = new Divider({
      onMove: (by) => {
        this.#layout = moveDivider(this.#layout, line().path, line().at, by);
        this.#place();
        this.#onMoved();
      },
      lengthPx: () => {
        const { axis, path } = line();
        return lengthOf(this.#layout, path) * (axis === "row" ? this.element.clientWidth : this.element.clientHeight);
      },
      onLeft: () => this.active.focus(),
    });
    this.element.append(divider.element);
    return divider;
  }
}

function put({ style, classList }, { left, top, width, height }) {
  style.left = `${left * 100}%`;
  style.top = `${top * 100}%`;
  style.width = `${width * 100}%`;
  style.height = `${height * 100}%`;
  classList.toggle("inner-left", left > 0);
  classList.toggle("inner-top", top > 0);
}

function stack({ style, classList }, at, total) {
  style.left = "0";
  style.width = "100%";
  style.top = `max(${(100 * at) / total}%, ${at * STACKED_LEAST_PX}px)`;
  style.height = `max(${100 / total}%, ${STACKED_LEAST_PX}px)`;
  classList.remove("inner-left");
  classList.toggle("inner-top", at > 0);
}

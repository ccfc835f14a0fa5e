// The strip of tabs in the bar, made anew from the list whenever something in it changed.

const NAMES = { connecting: "connecting", live: "", reconnecting: "reconnecting", ended: "ended" };
const MARKS = { activity: "new output", bell: "bell" };

export class TabStrip {
  #strip = document.getElementById("tabs");
  #count = document.getElementById("count");
  #shownTab = null;
  #buttons = new Map();
  #events;

  /** `events`: chosen(tab) (a click or Enter), moved(tab) (arrow keys: the keyboard stays here) and closed(tab). */
  constructor(events) {
    this.#events = events;
  }

  render(tabs, shown) {
    for (const [tab, entry] of this.#buttons) {
      if (tabs.includes(tab)) continue;
      entry.remove();
      this.#buttons.delete(tab);
    }
    tabs.forEach((tab, at) => this.#fill(this.#entryOf(tab), tab, { number: at + 1, isShown: tab === shown }));
    this.#strip.ariaOrientation = "horizontal";
    this.#count.hidden = tabs.length < 2;
    this.#count.textContent = `${tabs.indexOf(shown) + 1}/${tabs.length}`;
    this.#count.ariaLabel = `Tab ${tabs.indexOf(shown) + 1} of ${tabs.length}. Show all terminals`;
    if (shown !== this.#shownTab) this.#buttons.get(shown).scrollIntoView({ block: "nearest", inline: "nearest" });
    this.#shownTab = shown;
  }

  #entryOf(tab) {
    if (!this.#buttons.has(tab)) {
      const entry = document.getElementById("tab").content.firstElementChild.cloneNode(true);
      const button = entry.querySelector("[role=tab]");
      button.id = tab.id;
      button.setAttribute("aria-controls", tab.element.id);
      button.addEventListener("click", () => this.#events.chosen(tab));
      button.addEventListener("keydown", (event) => this.#onKey(event, tab));
      entry.addEventListener("auxclick", (event) => event.button === 1 && this.#events.closed(tab));
      entry.querySelector(".close").addEventListener("click", () => this.#events.closed(tab));
      this.#strip.append(entry);
      this.#buttons.set(tab, entry);
    }
    return this.#buttons.get(tab);
  }

  #fill(entry, tab, { number, isShown }) {
    const { host, login, title, state } = tab.active;
    const words = title === "" ? host : `${host} · ${title}`;
    const count = tab.panes.length;
    const button = entry.querySelector("[role=tab]");
    entry.dataset.state = state;
    entry.dataset.mark = tab.mark;
    entry.toggleAttribute("data-shown", isShown);
    entry.querySelector(".title").textContent = words;
    entry.querySelector(".panes").textContent = String(count);
    entry.querySelector(".panes").hidden = count < 2;
    entry.querySelector(".mark").hidden = tab.mark === "";
    entry.querySelector(".close").ariaLabel = `Close the tab ${words}`;
    button.ariaSelected = String(isShown);
    button.tabIndex = isShown ? 0 : -1;
    button.title = `${number}: ${login} on ${words}`;
    const remarks = [count > 1 ? `${count} terminals` : "", NAMES[state], MARKS[tab.mark]].filter(Boolean);
    button.ariaLabel = [words, ...remarks].join(", ");
  }

  #onKey(event, tab) {
    const entries = [...this.#buttons.keys()];
    const at = entries.indexOf(tab);
    const last = entries.length - 1;
    const to = { ArrowLeft: at === 0 ? last : at - 1, ArrowRight: at === last ? 0 : at + 1, Home: 0, End: last }[event.key];
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Delete") this.#events.closed(tab);
    else if (to !== undefined) this.#moveTo(entries[to]);
    else return;
    event.preventDefault();
  }

  #moveTo(tab) {
    this.#events.moved(tab);
    this.#buttons.get(tab).querySelector("[role=tab]").focus();
  }
}

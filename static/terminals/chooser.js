// The dialog that chooses the next terminal: one of this page, another that is open already, or a new one.

import { ask } from "./dialogs.js";

const TERMINAL = "terminal";

/**
 * What can be chosen is {kind, host, login, about, ..}: "shown" with its `pane`, "open" with its `session`, or "new";
 * `refusal` says why it cannot be chosen now.
 */
export class Chooser {
  #api;
  #dialog = document.getElementById("chooser");
  #field = this.#dialog.querySelector("input");
  #list = this.#dialog.querySelector("[role=listbox]");
  #hint = this.#dialog.querySelector(".hint");
  #choices = [];
  #selected = null;
  #preferred = null;
  #visit = 0;

  constructor(api) {
    this.#api = api;
    this.#field.addEventListener("input", () => this.#render());
    this.#dialog.addEventListener("keydown", (event) => this.#onKey(event));
    this.#list.addEventListener("click", (event) => this.#onClick(event));
    this.#list.addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the keyboard
  }

  /**
   * Asks. `place` is {host, login}, chosen by Enter alone; `panes` are those of the page. Resolves to the choice, or
   * null for none.
   */
  async choose({ title, place, panes }) {
    const shown = panes.map((pane) => ({ kind: "shown", host: pane.host, login: pane.login, about: pane.title, pane }));
    const again = { kind: "new", ...place, about: "" };
    this.#visit += 1;
    this.#dialog.querySelector("h2").textContent = title;
    this.#field.value = "";
    this.#choices = [again, ...shown];
    this.#selected = again;
    this.#preferred = again;
    this.#hint.textContent = "Looking for more…";
    this.#render();
    this.#load({ visit: this.#visit, place, shown });
    return (await ask(this.#dialog)) === "chosen" ? this.#selected : null;
  }

  async #load({ visit, place, shown }) {
    const [hosts, sessions] = await Promise.allSettled([this.#api.hosts(), this.#api.openSessions()]);
    if (visit !== this.#visit || !this.#dialog.open) return;
    const known = new Set(shown.map(({ pane }) => pane.session));
    const open = (sessions.value ?? []).filter(({ id, has_terminal: hasTerminal }) => hasTerminal && !known.has(id)).map(asOpen);
    const news = hosts.status === "fulfilled" ? hosts.value.flatMap(asNew) : [{ kind: "new", ...place, about: "" }];
    this.#choices = [...shown, ...open, ...news];
    const isPreferred = this.#selected === this.#preferred;
    this.#selected = this.#choices.find((choice) => isSame(choice, this.#selected) && !choice.refusal) ?? null;
    if (isPreferred) this.#preferred = this.#selected;
    const problem = [hosts, sessions].find(({ status }) => status === "rejected")?.reason;
    this.#hint.textContent = problem ? problem.message : "";
    this.#render();
  }

  #render() {
    const words = this.#field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.#choices.filter(({ host, login, about }) => {
      const text = `${host} ${login} ${about}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    const free = found.filter(({ refusal }) => !refusal);
    const isTyped = words.length > 0;
    if (!free.includes(this.#selected)) this.#selected = free.find(({ kind }) => isTyped || kind === "new") ?? free[0] ?? null;
    const groups = [
      ["In this page", found.filter(({ kind }) => kind === "shown")],
      ["Your other open terminals", found.filter(({ kind }) => kind === "open")],
      ["Open a new terminal", found.filter(({ kind }) => kind === "new")],
    ].filter(([, choices]) => choices.length > 0);
    this.#list.replaceChildren(...groups.map(([name, choices], at) => this.#group(name, choices, at)));
    if (found.length === 0) this.#list.textContent = isTyped ? "Nothing has that name." : "There is nothing to open.";
    this.#mark();
  }

  #group(name, choices, number) {
    const group = document.createElement("div");
    const heading = document.createElement("h3");
    heading.id = `chooser-group-${number}`;
    heading.textContent = name;
    group.role = "group";
    group.setAttribute("aria-labelledby", heading.id);
    group.append(heading, ...choices.map((choice) => this.#option(choice)));
    return group;
  }

  #option(choice) {
    const option = document.getElementById("option").content.firstElementChild.cloneNode(true);
    const at = this.#choices.indexOf(choice);
    option.id = `chooser-option-${at}`;
    option.dataset.at = String(at);
    option.querySelector(".name").textContent = choice.host;
    option.querySelector(".login").textContent = choice.login;
    option.querySelector(".about").textContent = choice.refusal || choice.about;
    option.title = choice.refusal || choice.about;
    if (choice.refusal) option.ariaDisabled = "true";
    return option;
  }

  /** Marks what is selected, and brings it into view. */
  #mark() {
    for (const option of this.#options) option.ariaSelected = String(this.#choiceOf(option) === this.#selected);
    const selected = this.#options.find((option) => option.ariaSelected === "true");
    this.#field.setAttribute("aria-activedescendant", selected?.id ?? "");
    selected?.scrollIntoView({ block: "nearest" });
  }

  #onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter" && !event.isComposing) this.#take();
    else if (step !== undefined) this.#move(step);
    else return;
    event.preventDefault();
  }

  #move(step) {
    const free = this.#options.map((option) => this.#choiceOf(option)).filter(({ refusal }) => !refusal);
    if (free.length === 0) return;
    const at = free.indexOf(this.#selected);
    this.#selected = free[(at + step + free.length) % free.length];
    this.#mark();
  }

  #onClick(event) {
    const option = event.target.closest("[role=option]");
    if (option === null || this.#choiceOf(option).refusal) return;
    this.#selected = this.#choiceOf(option);
    this.#take();
  }

  #take() {
    if (this.#selected !== null) this.#dialog.close("chosen");
  }

  get #options() {
    return Array.from(this.#list.querySelectorAll("[role=option]"));
  }

  #choiceOf(option) {
    return this.#choices[Number(option.dataset.at)];
  }
}

function asOpen({ id, host, login, viewers }) {
  return { kind: "open", host, login, session: id, about: viewers > 0 ? "shown in another window" : "waits for you" };
}

/** A host as choices, one for each login that has a terminal there. */
function asNew({ name, online, offline_reason: reason, rights, state }) {
  if (state !== "approved") return [];
  const refusal = online ? "" : `offline${reason ? `: ${reason}` : ""}`;
  return rights
    .filter(({ capabilities }) => capabilities.includes(TERMINAL))
    .map(({ login }) => ({ kind: "new", host: name, login, about: "", refusal }));
}

function isSame(choice, other) {
  const fields = ["kind", "host", "login", "pane", "session"];
  return other !== null && fields.every((field) => choice[field] === other[field]);
}

// Filters a list as one types. Everything by keyboard: "/" to the box, arrows through the rows, Enter opens, Esc clears.

const QUERY = "q";

/** `site=berlin "kind=old pi"` as words in lower case; a quoted one keeps its blanks. */
export function parseTerms(text) {
  return [...text.toLowerCase().matchAll(/"([^"]*)"?|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain).filter(Boolean);
}

function quote(term) {
  return /\s/.test(term) ? `"${term}"` : term;
}

class Filter {
  #form;
  #input;
  #count;
  #list;
  #noMatch;

  constructor(form) {
    const name = form.dataset.filters;
    this.#form = form;
    this.#input = form.querySelector("input");
    this.#count = form.querySelector("output");
    this.#list = document.querySelector(`[data-list="${name}"]`);
    this.#noMatch = document.querySelector(`[data-no-match="${name}"]`);
    this.#input.value = new URLSearchParams(location.search).get(QUERY) ?? this.#input.value;
    form.addEventListener("submit", (event) => this.#open(event));
    this.#input.addEventListener("input", () => this.#changed());
    document.addEventListener("keydown", (event) => this.#onKey(event));
    document.addEventListener("click", (event) => this.#onChip(event.target.closest("[data-term]")));
    this.apply();
  }

  /** Shows the rows that match, and only those. */
  apply() {
    const terms = parseTerms(this.#input.value);
    const rows = [...this.#list.children];
    let shown = 0;
    for (const row of rows) {
      const words = (row.querySelector("[data-words]")?.dataset.words ?? "").toLowerCase();
      const matches = terms.every((term) => words.includes(term));
      if (row.hidden === matches) row.hidden = !matches;
      if (matches) shown += 1;
    }
    const text = terms.length ? `${shown} of ${rows.length}` : "";
    if (this.#count.textContent !== text) this.#count.textContent = text;
    this.#noMatch.hidden = shown > 0 || rows.length === 0;
    this.#form.hidden = rows.length === 0;
    for (const chip of document.querySelectorAll("[data-term]")) {
      chip.setAttribute("aria-pressed", String(terms.includes(chip.dataset.term.toLowerCase())));
    }
  }

  get #links() {
    return [...this.#list.querySelectorAll("tr:not([hidden]) a.main")];
  }

  #changed() {
    this.apply();
    const url = new URL(location.href);
    if (this.#input.value) url.searchParams.set(QUERY, this.#input.value);
    else url.searchParams.delete(QUERY);
    history.replaceState(null, "", url);
  }

  #open(event) {
    event.preventDefault();
    this.#links[0]?.click();
  }

  #onChip(chip) {
    if (!chip) return;
    const terms = parseTerms(this.#input.value);
    const term = chip.dataset.term.toLowerCase();
    const others = terms.filter((other) => other !== term);
    this.#input.value = (others.length === terms.length ? [...terms, term] : others).map(quote).join(" ");
    this.#changed();
  }

  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const isInBox = event.target === this.#input;
    if (event.key === "/" && !event.target.closest("input, select, textarea")) this.#focus(event, this.#input);
    else if (event.key === "Escape" && isInBox) this.#clear(event);
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") this.#step(event, isInBox);
  }

  #clear(event) {
    event.preventDefault();
    if (!this.#input.value) this.#input.blur();
    this.#input.value = "";
    this.#changed();
  }

  /** From the box into the rows, through them, and back. */
  #step(event, isInBox) {
    const links = this.#links;
    const here = document.activeElement.closest("tr")?.querySelector("a.main");
    const index = isInBox ? -1 : links.indexOf(here);
    if (!isInBox && index < 0) return;
    const next = index + (event.key === "ArrowDown" ? 1 : -1);
    if (next < -1 || next >= links.length) return;
    this.#focus(event, next < 0 ? this.#input : links[next]);
  }

  #focus(event, element) {
    event.preventDefault();
    element.focus();
    if (element === this.#input) element.select();
  }
}

export function startFilters() {
  return [...document.querySelectorAll("form[data-filters]")].map((form) => new Filter(form));
}

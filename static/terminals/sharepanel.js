// The part of the people panel in which an owner shares the terminal: a form, the link that comes of it, and the shares
// that are in force. A link is a secret: it stands in its field, and nowhere else in the page.

import { putIntoClipboard } from "./clipboard.js";
import { make, say, showList } from "./keyed.js";
import { cleanTitle } from "./text.js";

const ROLES = { watcher: "watch only", driver: "may type" };
const WHEN = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "2-digit", minute: "2-digit" });

export class SharePanel {
  #section;
  #sharing;
  #place;
  #form;
  #isStarted = false;

  /** `place` is {host, login}, on which the person may share or not. */
  constructor(section, { sharing, place }) {
    this.#section = section;
    this.#sharing = sharing;
    this.#place = place;
    this.#form = section.querySelector("form");
    this.#form.addEventListener("submit", (event) => this.#onSubmit(event));
    this.#form.addEventListener("change", () => this.#showFields());
    section.querySelector(".shares").addEventListener("click", (event) => this.#onRevoke(event));
    section.querySelector(".copy").addEventListener("click", () => this.#copy());
    this.#showFields();
  }

  /** Shows itself, with the form where the person may share. Done once. */
  start() {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#section.hidden = false;
    this.#load();
    this.#find();
  }

  async #find() {
    const { host, login } = this.#place;
    try {
      const mayShare = await this.#sharing.mayShare(this.#place);
      this.#form.hidden = !mayShare;
      if (!mayShare) this.#complain(`No grant lets you share a terminal as ${login} on ${host}. An admin can give one.`);
    } catch (problem) {
      this.#complain(problem.message);
    }
  }

  async #load() {
    try {
      this.#showShares(await this.#sharing.shares());
    } catch (problem) {
      this.#complain(problem.message);
    }
  }

  #showFields() {
    const isLink = this.#form.elements.whom.value === "link";
    this.#form.querySelector(".guests").hidden = !isLink;
    this.#form.querySelector(".who").hidden = isLink;
    this.#form.elements.person.required = !isLink;
  }

  async #onSubmit(event) {
    event.preventDefault();
    const { whom, person, role, expires, guests } = this.#form.elements;
    const isLink = whom.value === "link";
    const wanted = { role: role.value, expires: expires.value };
    const button = this.#form.querySelector("button");
    button.disabled = true;
    try {
      const made = await this.#sharing.share(isLink ? { ...wanted, guests: guests.checked } : { ...wanted, person: person.value.trim() });
      this.#complain("");
      this.#showLink(made, isLink ? "" : person.value.trim());
      person.value = "";
      await this.#load();
    } catch (problem) {
      this.#complain(problem.message);
    }
    button.disabled = false;
  }

  #showLink({ url }, person) {
    const made = this.#section.querySelector(".made");
    made.hidden = false;
    say(
      made.querySelector(".about"),
      person === ""
        ? "Send this link. Whoever opens it asks you, and you see who it is. It is shown this once:"
        : `${person} finds this terminal on their page of hosts. This link leads there as well, and is for nobody else:`,
    );
    made.querySelector("input").value = url;
    made.querySelector(".copy").focus();
  }

  async #copy() {
    const field = this.#section.querySelector(".made input");
    const isCopied = await putIntoClipboard(field.value);
    if (!isCopied) field.select();
    say(this.#section.querySelector(".copied"), isCopied ? "Copied." : "The browser did not let this page copy: press Ctrl+C.");
  }

  #showShares(shares) {
    const list = this.#section.querySelector(".shares");
    list.previousElementSibling.hidden = shares.length === 0;
    showList(list, shares, {
      make: () =>
        make(
          "li",
          {},
          make("bdi", { className: "name" }),
          make("span", { className: "about" }),
          make("span", { className: "acts" }, make("button", { type: "button", className: "is-no", textContent: "Revoke" })),
        ),
      fill: (row, share) => {
        const name = share.person ? cleanTitle(share.person) : "Link";
        const facts = [ROLES[share.role], share.guests ? "guests may ask" : "", `until ${WHEN.format(new Date(share.expires))}`];
        say(row.querySelector(".name"), name);
        say(row.querySelector(".about"), facts.filter(Boolean).join(" · "));
        row.querySelector("button").ariaLabel = `Revoke the share: ${name}, ${facts.filter(Boolean).join(", ")}`;
      },
    });
  }

  async #onRevoke({ target }) {
    if (!target.matches("button")) return;
    target.disabled = true;
    try {
      await this.#sharing.revoke(target.closest("li").dataset.key);
      this.#complain("");
      this.#section.querySelector(".made").hidden = true;
      await this.#load();
    } catch (problem) {
      target.disabled = false;
      this.#complain(problem.message);
    }
  }

  #complain(text) {
    const problem = this.#section.querySelector(".share-problem");
    problem.hidden = text === "";
    say(problem, text);
  }
}

// The questions that the page asks, each in a <dialog> of the template.

import { KEYS, keysOf } from "./keys.js";

const closing = document.getElementById("closing");
const broadcasting = document.getElementById("broadcasting");
const keys = document.getElementById("keys");
const link = document.getElementById("link");

/** Whether something is asked: then the keys of the page wait. */
export function isAsking() {
  return document.querySelector("dialog[open]") !== null;
}

/** Shows a dialog; resolves to the value of the button that closed it, "" for Esc. */
export function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}

/** What to do with shells whose panes close: resolves to "end", "keep", or something else for nothing. */
export function askToEnd(panes) {
  const title = panes.length === 1 ? `End the shell on ${panes[0].host}?` : `End ${panes.length} shells, on ${hostsOf(panes)}?`;
  closing.querySelector("h2").textContent = title;
  return ask(closing);
}

/** The warning before typing into several panes; resolves to whether the person wants that. */
export async function askToBroadcast(panes, leftOut) {
  broadcasting.querySelector("h2").textContent = `Type into ${panes.length} terminals at once?`;
  broadcasting.querySelector("ul").replaceChildren(...panes.map(({ host, login }) => textElement("li", `${host} as ${login}`)));
  const words = broadcasting.querySelector(".left-out");
  words.textContent = `Not connected, so left out: ${hostsOf(leftOut)}.`;
  words.hidden = leftOut.length === 0;
  return (await ask(broadcasting)) === "start";
}

/** The list of keys. */
export function showKeys() {
  const rows = KEYS.flatMap(({ action, says }) => [textElement("dt", keysOf(action)), textElement("dd", says)]);
  keys.querySelector("dl").replaceChildren(...rows);
  return ask(keys);
}

/** Opens a link of a program in a new browser tab if the person agrees; resolves when that is decided. */
export async function followLink(url) {
  document.getElementById("link-host").textContent = url.host;
  document.getElementById("link-url").textContent = url.href;
  if ((await ask(link)) === "open") window.open(url.href, "_blank", "noopener,noreferrer");
}

/** The hosts of some panes as people read them. */
export function hostsOf(panes) {
  return panes.map(({ host }) => host).join(", ");
}

function textElement(name, text) {
  const element = document.createElement(name);
  element.textContent = text;
  return element;
}

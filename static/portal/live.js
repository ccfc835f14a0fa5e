// Regions that htmx polls: asks only while somebody looks, and exchanges only what has changed.

import { mergeList } from "./merge.js";
import { refreshTimes } from "./times.js";

const LOST = "The broker does not answer. What you see may be old; trying again.";

/** `changed` runs after each change, before it is painted. */
export function startLive({ changed }) {
  const connection = document.getElementById("connection");

  window.htmx.defineExtension("merge", {
    isInlineSwap: (style) => style === "merge",
    handleSwap: (style, region, fragment) => {
      if (style !== "merge") return false;
      const answer = fragment.querySelector("[data-seen]");
      if (answer && mergeAll(answer)) region.dataset.seen = answer.dataset.seen;
      refreshTimes();
      changed();
      return [];
    },
  });

  document.addEventListener("htmx:configRequest", ({ target, detail }) => {
    if (target.dataset.seen) detail.parameters.append("seen", target.dataset.seen);
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.visibilityState === "hidden") event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") return;
    for (const region of document.querySelectorAll(".live")) window.htmx.trigger(region, "refresh");
  });
  document.addEventListener("htmx:sendError", () => tell(connection, LOST));
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    const status = detail.xhr.status;
    if (status === 403 || status === 404) location.reload(); // not ours to see any more: the page itself says so
    else if (status >= 500) tell(connection, LOST);
    else if (status > 0) tell(connection, "");
  });
}

function mergeAll(answer) {
  let isComplete = true;
  for (const fresh of answer.querySelectorAll("[data-list]")) {
    const list = document.querySelector(`[data-list="${fresh.dataset.list}"]`);
    if (list) isComplete = mergeList(list, fresh) && isComplete;
  }
  return isComplete;
}

/** Only a change is written, so that it is read aloud once. */
function tell(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

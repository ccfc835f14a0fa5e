// Lists of moments to jump to: hits of the search, and what happened. All text is text.

import { showControls } from "../terminals/text.js";
import { formatTime } from "./time.js";

const MAX_LISTED = 300;

/** Fills `list` with a button for each of `moments`: {t, line}; `jump(moment)` is called for the chosen one. */
export function listMoments(list, moments, jump) {
  list.replaceChildren(
    ...moments.slice(0, MAX_LISTED).map((moment) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "moment";
      const time = document.createElement("span");
      time.className = "time";
      time.textContent = formatTime(moment.t);
      const line = document.createElement("span");
      line.className = "line";
      line.textContent = showControls(moment.line);
      button.append(time, line);
      button.addEventListener("click", () => {
        for (const other of list.querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
        button.setAttribute("aria-current", "true");
        jump(moment);
      });
      const item = document.createElement("li");
      item.append(button);
      return item;
    }),
  );
}

/** Marks, gaps and sizes of the facts, in order of time. */
export function happenings({ marks, sizes }) {
  return [
    ...marks.map(([t, line]) => ({ t, line })),
    ...sizes.map(([t, cols, rows]) => ({ t, line: `the window became ${cols} × ${rows}` })),
  ].sort((one, other) => one.t - other.t);
}

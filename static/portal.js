// The portal's pages work without this; with it they stay fresh, filter as one types, and copy.

import { startCommands } from "./portal/commands.js";
import { startFilters } from "./portal/filter.js";
import { startLive } from "./portal/live.js";
import { startTimes } from "./portal/times.js";

startTimes();
const filters = startFilters();
startLive({ changed: () => filters.forEach((filter) => filter.apply()) });
startCommands();

// A menu closes like any other.
for (const menu of document.querySelectorAll("details.menu")) {
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}

// A page that shows a secret is the answer to a POST: reloading it must not make another one.
if (document.querySelector("[data-shown-once]")) history.replaceState(null, "", location.href);

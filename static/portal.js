// The portal's pages work without this; with it they stay fresh, filter as one types, and copy.

import { startCommands } from "./portal/commands.js";
import { startFilters } from "./portal/filter.js";
import { startLive } from "./portal/live.js";
import { startPasskeys } from "./portal/passkeys.js";
import { startTimes } from "./portal/times.js";

const DROPS = "details.menu, details.drop";

startTimes();
const filters = startFilters();
startLive({ changed: () => filters.forEach((filter) => filter.apply()) });
startCommands();
// On a small screen the bar scrolls: where one is stands in sight.
document.querySelector(".bar nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
startPasskeys();

// What drops down over the page closes like any menu.
document.addEventListener("click", (event) => {
  for (const drop of document.querySelectorAll(`:is(${DROPS})[open]`)) {
    if (!drop.contains(event.target)) drop.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  const drop = event.target.closest(DROPS);
  if (event.key !== "Escape" || !drop?.open) return;
  drop.open = false;
  drop.querySelector("summary").focus();
});

// A page that shows a secret is the answer to a POST: reloading it must not make another one.
if (document.querySelector("[data-shown-once]")) history.replaceState(null, "", location.href);

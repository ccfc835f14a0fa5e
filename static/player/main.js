// The player on a session's page: puts recording, screen, clock and controls together.

import { putIntoClipboard } from "../terminals/clipboard.js";
import { allowTerminalStyles } from "../terminals/csp.js";
import { Bar } from "./bar.js";
import { Clock } from "./clock.js";
import { happenings, listMoments } from "./moments.js";
import { moment, recording } from "./opening.js";
import { Screen } from "./screen.js";
import { formatTime, momentHash, parseMoment } from "./time.js";

const STEP_S = 5;
const LONG_STEP_S = 60;
const TYPING_MS = 250;
const SECOND_FACTOR = "/problems/second-factor-required";
/** What one finds was on the screen from this moment on; a little later it is surely drawn. */
const AFTER_S = 0.01;

const player = document.querySelector("#player");
const part = (name) => player.querySelector(`[data-part="${name}"]`);
const state = part("state");

function say(text) {
  state.textContent = text;
  state.hidden = text === "";
}

function refused(error) {
  if (error.type === SECOND_FACTOR) {
    location.href = `/account/confirm/?next=${encodeURIComponent(location.pathname + location.hash)}`;
    return;
  }
  say(error.message);
}

async function start() {
  let facts;
  try {
    facts = await recording.open(moment, () => say("This recording is being prepared. The page goes on by itself."));
  } catch (error) {
    refused(error);
    return;
  }
  if (facts.state === "failed") {
    say(`This recording cannot be played here: ${facts.problem}.`);
    return;
  }
  allowTerminalStyles();
  const screen = new Screen(part("screen"));
  const clock = new Clock(recording, screen, facts, { changed: () => show(), failed: refused });
  const bar = new Bar(part("bar"), facts, (time) => clock.seek(time));
  const show = () => {
    bar.show(clock.time);
    part("clock").textContent = `${formatTime(clock.time)} / ${formatTime(clock.duration)}`;
    part("play").dataset.playing = String(clock.isPlaying);
    part("play").setAttribute("aria-label", clock.isPlaying ? "Pause" : "Play");
    player.dataset.time = clock.time.toFixed(3);
  };
  const toggle = () => (clock.isPlaying ? clock.pause() : clock.play());
  const jump = async (time, text = "") => {
    clock.pause();
    await clock.seek(time);
    screen.mark(text);
  };
  controls(clock, toggle);
  keys(clock, toggle);
  moments(facts, jump);
  search(facts, jump);
  window.addEventListener("hashchange", () => {
    const time = parseMoment(location.hash);
    if (time !== null) jump(time);
  });
  if (await clock.seek(moment)) say("");
  for (const element of player.querySelectorAll("[data-shown]")) element.hidden = false;
  screen.open();
  player.dataset.state = "ready";
  window.brokerdPlayer = { text: () => screen.text(), seek: (time) => clock.seek(time) }; // for tests
}

function controls(clock, toggle) {
  part("play").addEventListener("click", toggle);
  part("speed").addEventListener("change", (event) => {
    clock.speed = Number(event.target.value);
  });
  part("idle").addEventListener("change", (event) => {
    clock.skipsIdle = event.target.checked;
  });
  part("link").addEventListener("click", async () => {
    history.replaceState(null, "", momentHash(clock.time));
    const copied = await putIntoClipboard(location.href);
    part("said").textContent = copied ? "Link copied." : "The link is in the address bar.";
  });
}

function keys(clock, toggle) {
  document.addEventListener("keydown", (event) => {
    const { target } = event;
    const isField = target.closest("input:not([type=range]):not([type=checkbox]), select, textarea");
    if (isField || event.ctrlKey || event.altKey || event.metaKey) return;
    const isButton = target.closest("button, a, summary, [type=checkbox]");
    const actions = {
      " ": isButton ? null : toggle,
      k: toggle,
      ArrowLeft: () => clock.seek(clock.time - STEP_S),
      ArrowRight: () => clock.seek(clock.time + STEP_S),
      PageUp: target.type === "range" ? () => clock.seek(clock.time - LONG_STEP_S) : null,
      PageDown: target.type === "range" ? () => clock.seek(clock.time + LONG_STEP_S) : null,
      "/": () => part("query").focus(),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function moments(facts, jump) {
  const found = happenings(facts);
  part("happenings").hidden = found.length === 0;
  listMoments(part("happened"), found, ({ t }) => jump(t + AFTER_S));
}

function search({ cut }, jump) {
  const query = part("query");
  let waiting = 0;
  let asked = new AbortController();
  const look = async () => {
    asked.abort();
    asked = new AbortController();
    const wanted = query.value.trim();
    if (wanted === "") {
      part("found").textContent = "";
      part("hits").replaceChildren();
      return;
    }
    try {
      const { items, more } = await recording.search(wanted, asked.signal);
      const count = `${items.length}${more ? " or more" : ""} ${items.length === 1 ? "line" : "lines"}`;
      const limit = cut === null ? "" : `; only what was shown before ${formatTime(cut)} is searched`;
      part("found").textContent = (items.length === 0 ? "Nothing found" : count) + limit;
      listMoments(part("hits"), items, ({ t }) => jump(t + AFTER_S, wanted));
    } catch (error) {
      if (error.name !== "AbortError") refused(error);
    }
  };
  query.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(look, TYPING_MS);
  });
  part("search").addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    look();
  });
}

start();

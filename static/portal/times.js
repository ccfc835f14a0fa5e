// Turns the times of the server into what people read: "3 min ago", or their own clock. Kept fresh.

const TICK_MS = 10_000;
const MINUTE_S = 60;
const STEPS = [
  [3600, MINUTE_S, "min"],
  [86400, 3600, "h"],
  [Infinity, 86400, "d"],
];

const clock = new Intl.DateTimeFormat(undefined, {
  month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const clockWithYear = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
});
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

/** How long ago, or how long until: "just now", "3 min ago", "in 2 d". */
export function formatDistance(time, now) {
  const distanceS = Math.abs(now - time) / 1000;
  if (distanceS < MINUTE_S) return time > now ? "in less than a minute" : "just now";
  const [, unitS, unit] = STEPS.find(([belowS]) => distanceS < belowS);
  const count = `${Math.floor(distanceS / unitS)} ${unit}`;
  return time > now ? `in ${count}` : `${count} ago`;
}

function formatClock(time, now) {
  return (time.getFullYear() === now.getFullYear() ? clock : clockWithYear).format(time);
}

const STYLES = {
  clock: formatClock,
  both: (time, now) => `${formatClock(time, now)} (${formatDistance(time, now)})`,
};

export function refreshTimes(root = document) {
  const now = new Date();
  for (const element of root.querySelectorAll("time[datetime]")) {
    const time = new Date(element.dateTime);
    const text = (STYLES[element.dataset.style] ?? formatDistance)(time, now);
    if (element.textContent !== text) element.textContent = text;
    if (!element.title) element.title = full.format(time);
  }
}

export function startTimes() {
  refreshTimes();
  setInterval(() => refreshTimes(), TICK_MS);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") refreshTimes();
  });
}

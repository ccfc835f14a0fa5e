// Moments of a recording, as people read and write them. Pure.

/** 3725.4 → "1:02:05". */
export function formatTime(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 60) % 60, whole % 60].map((part) => String(part).padStart(2, "0"));
  const hours = Math.floor(whole / 3600);
  return hours > 0 ? `${hours}:${parts.join(":")}` : `${Number(parts[0])}:${parts[1]}`;
}

/** "#t=123.4" → 123.4; null for anything else. */
export function parseMoment(hash) {
  const match = /^#t=(\d{1,9}(?:\.\d{1,6})?)$/.exec(hash);
  return match === null ? null : Number(match[1]);
}

export function momentHash(seconds) {
  return `#t=${seconds.toFixed(1)}`;
}

/** Index of the last of the ascending `times` that is not after `time`; 0 where there is none. */
export function lastNotAfter(times, time) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

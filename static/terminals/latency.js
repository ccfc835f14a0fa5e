// Words for how long an answer takes. `latency` is {roundTripMs, tunnelMs}; tunnelMs is null where it is not known. Pure.

/** "12 + 34 ms" from browser to broker and from broker to host, "12 ms", or "" where nothing is known. */
export function shortLatency(latency) {
  if (latency === null) return "";
  const tunnel = latency.tunnelMs === null ? "" : ` + ${milliseconds(latency.tunnelMs)}`;
  return `${milliseconds(latency.roundTripMs)}${tunnel} ms`;
}

export function describeLatency({ roundTripMs, tunnelMs }) {
  const tunnel = tunnelMs === null ? "" : `, broker to host and back ${milliseconds(tunnelMs)} ms`;
  return `Browser to broker and back ${milliseconds(roundTripMs)} ms${tunnel}`;
}

function milliseconds(value) {
  return Math.max(1, Math.round(value));
}

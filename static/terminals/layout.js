// How a tab is divided among its panes: a tree of splits. Pure: knows no DOM, and panes only by their ids.
//
// A node is an id (a pane fills it), or {axis, parts, shares}: `parts` (nodes, two or more) lie beside each other ("row")
// or one below the other ("column"), and each has its share of the length; shares add up to 1. Trees are never changed
// in place. A rectangle is {left, top, width, height} in fractions of the whole.

const LEAST_SHARE = 0.05;
const WHOLE = Object.freeze({ left: 0, top: 0, width: 1, height: 1 });
/** Rectangles that touch are compared with this tolerance. */
const NEAR = 1e-6;

const isPane = (node) => typeof node === "string";

/** The ids of all panes, in reading order. */
export function panesOf(node) {
  return isPane(node) ? [node] : node.parts.flatMap(panesOf);
}

/** The same tree with other ids, by a Map of old to new. */
export function rename(node, names) {
  return isPane(node) ? names.get(node) : { ...node, parts: node.parts.map((part) => rename(part, names)) };
}

/** Gives half of the room of `pane` to a new one after it: on its right (axis "row") or below it ("column"). */
export function split(node, pane, axis, added) {
  if (node === pane) return { axis, parts: [pane, added], shares: [0.5, 0.5] };
  if (isPane(node)) return node;
  const at = node.parts.indexOf(pane);
  if (at < 0 || node.axis !== axis) return { ...node, parts: node.parts.map((part) => split(part, pane, axis, added)) };
  const half = node.shares[at] / 2;
  return { axis, parts: node.parts.toSpliced(at + 1, 0, added), shares: node.shares.toSpliced(at, 1, half, half) };
}

/** Takes a pane out; what lay beside it takes its room. Answers null where it was the only one. */
export function remove(node, pane) {
  if (isPane(node)) return node === pane ? null : node;
  const kept = node.parts.map((part, at) => [remove(part, pane), node.shares[at]]).filter(([part]) => part !== null);
  if (kept.length <= 1) return kept[0]?.[0] ?? null;
  const total = kept.reduce((sum, [, share]) => sum + share, 0);
  return joined({ axis: node.axis, parts: kept.map(([part]) => part), shares: kept.map(([, share]) => share / total) });
}

/** A split within a split of the same axis becomes one, so that new panes share evenly. */
function joined({ axis, parts, shares }) {
  const isSame = (part) => !isPane(part) && part.axis === axis;
  return {
    axis,
    parts: parts.flatMap((part) => (isSame(part) ? part.parts : [part])),
    shares: parts.flatMap((part, at) => (isSame(part) ? part.shares.map((share) => share * shares[at]) : [shares[at]])),
  };
}

/** Where each pane lies: a Map of id to rectangle. */
export function rectangles(node, whole = WHOLE) {
  if (isPane(node)) return new Map([[node, whole]]);
  return new Map(cells(node, whole).flatMap(([part, cell]) => [...rectangles(part, cell)]));
}

/**
 * The dividers between parts: {path, at, axis, share, left, top, length}. `path` leads from the root to the split (the index of
 * a part at each step) and `at` is the part before the divider; `share` is that part's share of the two.
 */
export function dividers(node, whole = WHOLE, path = []) {
  if (isPane(node)) return [];
  const inner = cells(node, whole);
  const own = inner.slice(1).map(([, { left, top, width, height }], at) => ({
    path,
    at,
    axis: node.axis,
    share: node.shares[at] / (node.shares[at] + node.shares[at + 1]),
    left,
    top,
    length: node.axis === "row" ? height : width,
  }));
  return [...own, ...inner.flatMap(([part, cell], at) => dividers(part, cell, [...path, at]))];
}

/** Moves a divider by a fraction of the whole split; neither neighbour gets smaller than a twentieth of it. */
export function moveDivider(node, [step, ...path], at, by) {
  if (step !== undefined) return { ...node, parts: node.parts.with(step, moveDivider(node.parts[step], path, at, by)) };
  const both = node.shares[at] + node.shares[at + 1];
  const least = Math.min(LEAST_SHARE, both / 2);
  const first = Math.min(both - least, Math.max(least, node.shares[at] + by));
  return { ...node, shares: node.shares.with(at, first).with(at + 1, both - first) };
}

/** The length of the split that a path leads to, along its axis, as a fraction of the whole. */
export function lengthOf(node, path, whole = WHOLE) {
  if (path.length === 0) return node.axis === "row" ? whole.width : whole.height;
  const [step, ...rest] = path;
  return lengthOf(node.parts[step], rest, cells(node, whole)[step][1]);
}

/** The pane next to `pane` in a direction ("left", "right", "up", "down"), or null; beside its middle if there are several. */
export function neighbour(node, pane, direction) {
  const places = rectangles(node);
  const from = asEdges(places.get(pane), direction);
  const beside = [...places]
    .map(([id, place]) => ({ id, ...asEdges(place, direction) }))
    .filter(({ id, near, low, high }) => id !== pane && near >= from.far - NEAR && low < from.high - NEAR && high > from.low + NEAR);
  const middle = (from.low + from.high) / 2;
  const away = ({ near, low, high }) => near * 10 + Math.max(low - middle, middle - high, 0);
  return beside.sort((a, b) => away(a) - away(b))[0]?.id ?? null;
}

/** A rectangle as seen when going in a direction: where it begins and ends on the way, and across. */
function asEdges({ left, top, width, height }, direction) {
  const isAcross = direction === "left" || direction === "right";
  const [start, length, low, breadth] = isAcross ? [left, width, top, height] : [top, height, left, width];
  const isForward = direction === "right" || direction === "down";
  const [near, far] = isForward ? [start, start + length] : [-(start + length), -start];
  return { near, far, low, high: low + breadth };
}

/** The parts of a split with their rectangles. */
function cells({ axis, parts, shares }, { left, top, width, height }) {
  let at = 0;
  return parts.map((part, index) => {
    const from = at;
    at += shares[index];
    const cell =
      axis === "row"
        ? { left: left + from * width, top, width: shares[index] * width, height }
        : { left, top: top + from * height, width, height: shares[index] * height };
    return [part, cell];
  });
}

/** A tree from outside (storage), checked: it has each pane of `known` once, and no other. Null for anything else. */
export function readLayout(value, known) {
  const left = new Set(known);
  const read = (node, depth) => {
    if (isPane(node)) return left.delete(node) ? node : null;
    if (depth === 0 || node === null || typeof node !== "object" || !isSplit(node)) return null;
    const parts = node.parts.map((part) => read(part, depth - 1));
    const total = node.shares.reduce((sum, share) => sum + share, 0);
    return parts.includes(null) ? null : { axis: node.axis, parts, shares: node.shares.map((share) => share / total) };
  };
  const layout = read(value, left.size);
  return left.size === 0 ? layout : null;
}

function isSplit({ axis, parts, shares }) {
  const isShare = (share) => Number.isFinite(share) && share > 0.001 && share <= 1;
  return (
    (axis === "row" || axis === "column") &&
    Array.isArray(parts) &&
    Array.isArray(shares) &&
    parts.length >= 2 &&
    parts.length === shares.length &&
    shares.every(isShare)
  );
}

// Lists that follow a list of things. What is shown already keeps its element, and with it the focus.

/** `make(thing)` answers a new element, `fill(element, thing)` brings one up to date; things have an `id`. */
export function showList(list, things, { make, fill }) {
  const old = new Map(Array.from(list.children, (element) => [element.dataset.key, element]));
  things.forEach((thing, at) => {
    const element = old.get(thing.id) ?? make(thing);
    old.delete(thing.id);
    element.dataset.key = thing.id;
    fill(element, thing);
    if (list.children[at] !== element) list.insertBefore(element, list.children[at] ?? null);
  });
  for (const element of old.values()) element.remove();
}

/** A new element: `properties` are its own (className, textContent, title ..), `parts` go into it. */
export function make(name, properties = {}, ...parts) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...parts);
  return element;
}

/** Writes only a change, so that it is read aloud once and keeps a selection. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

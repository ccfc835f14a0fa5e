// Brings a list up to date by keys and marks: what has not changed is left alone, with its focus and selection.

const FOCUSABLE = "a[href], button, input, select, summary";

/**
 * Makes `list` show what `fresh` does. Items have data-key and data-mark. Returns false where an item was kept as it is
 * because somebody is busy in it: the caller asks again later.
 */
export function mergeList(list, fresh) {
  const held = new Map([...list.children].map((item) => [item.dataset.key, item]));
  const wanted = [...fresh.children];
  let isComplete = true;

  const keys = new Set(wanted.map((item) => item.dataset.key));
  for (const [key, item] of held) {
    if (!keys.has(key)) isComplete = retire(list, item) && isComplete;
  }
  let previous = null;
  for (const item of wanted) {
    const old = held.get(item.dataset.key);
    let shown = old ?? item;
    if (old && old.dataset.mark !== item.dataset.mark) {
      if (isBusy(old)) isComplete = false;
      else shown = exchange(old, item);
    }
    if (!old) item.classList.add("is-new");
    place(list, shown, previous);
    previous = shown;
  }
  return isComplete;
}

/** Whether replacing the item would take something away from the person: what they typed, or opened to read. */
function isBusy(item) {
  if (item.querySelector("details[open]")) return true;
  const isTyping = item.contains(document.activeElement) && document.activeElement.matches("input:not([type=hidden]), select");
  return isTyping || [...item.querySelectorAll("input")].some(
    (input) => input.value !== input.defaultValue || input.checked !== input.defaultChecked,
  );
}

/** An item that is no more. Where a list says so, it stays in place, dimmed: nothing may move under somebody's click. */
function retire(list, item) {
  if (list.dataset.gone) {
    if (!item.classList.contains("is-gone")) dim(item, list.dataset.gone);
    return true;
  }
  if (isBusy(item)) return false;
  item.remove();
  return true;
}

function dim(item, words) {
  const note = document.createElement("p");
  note.className = "gone";
  note.textContent = words;
  item.classList.add("is-gone");
  item.dataset.mark = "";
  for (const control of item.querySelectorAll("button, input")) control.disabled = true;
  item.prepend(note);
}

function exchange(old, item) {
  const index = [...old.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
  old.replaceWith(item);
  if (index >= 0) [...item.querySelectorAll(FOCUSABLE)].at(Math.min(index, item.querySelectorAll(FOCUSABLE).length - 1))?.focus();
  return item;
}

/** Moves `item` behind `previous` only if it is not there already: moving takes the focus away. */
function place(list, item, previous) {
  let next = previous ? previous.nextElementSibling : list.firstElementChild;
  while (next?.classList.contains("is-gone") && next !== item) next = next.nextElementSibling;
  if (next !== item) list.insertBefore(item, next);
}

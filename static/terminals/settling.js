// What just moved below the pointer is not what somebody meant to click: buttons that matter wait until a list is still.

const SETTLED_AFTER_MS = 500;

export class Settling {
  #movedAt = -Infinity;
  #shown = "";

  /** The list shows these things now, by their ids. */
  shows(ids) {
    const shown = ids.join();
    if (shown !== this.#shown) this.#movedAt = performance.now();
    this.#shown = shown;
  }

  /** Whether a click by the pointer comes too soon after that. Keys act on what has the focus, wherever it moved to. */
  isTooSoon(click) {
    return click.detail > 0 && performance.now() - this.#movedAt < SETTLED_AFTER_MS;
  }
}

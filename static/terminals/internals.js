// What this page uses of xterm.js that is not public, all in one place. No public way does the same in 6.0.0:
// tests/page/test_internals.py fails when one of these vanishes, and without them the page still works, less well.

/**
 * Calls `listener` right before onData for what a person did. Public is onKey alone, which misses input methods and the
 * mouse. Without it everything counts as said by the emulator: keys pressed during a replay are lost.
 */
export function onUserInput(terminal, listener) {
  terminal._core.coreService?.onUserInput(listener);
}

/**
 * The emulator parses in timeouts, which a hidden tab gets once a second and later once a minute: acknowledgements
 * would hold the host's program back. After input it parses the next write at once, so this says that there was some.
 * The public input("") says so as well, but takes the selection away. Without it a hidden tab lags.
 */
export function parseNextWriteAtOnce(terminal) {
  terminal._core._writeBuffer?.handleUserInput();
}

/**
 * A VT100 that changes its number of columns clears its screen, homes the cursor and has no margins any more. Public is
 * only write(), and what it gets now comes after the rest of what is being parsed. Without it old text stays there.
 */
export function clearForOtherColumns(terminal) {
  const handler = terminal._core._inputHandler;
  handler?.setScrollRegion({ params: [0], length: 1 }); // homes the cursor as well
  handler?.eraseInDisplay({ params: [2], length: 1 });
}

const OF_ROWS = { L: "insertLines", M: "deleteLines", S: "scrollUp", T: "scrollDown" };
const OF_COLUMNS = { I: "cursorForwardTab", Z: "cursorBackwardTab", b: "repeatPrecedingCharacter" };

/**
 * The emulator does these as often as a program says, two thousand million times if need be, while the page stands
 * still. More often than there are rows or columns makes no difference but for a repeated character, which fills one
 * line at the most. Public is only to take a sequence away, not to give it another number.
 */
export function boundCounts(terminal) {
  const handler = terminal._core._inputHandler;
  const bound = (functions, most) => {
    for (const [final, name] of Object.entries(functions)) {
      terminal.parser.registerCsiHandler({ final }, ([count]) => {
        if (!(count > most())) return false;
        handler?.[name]?.({ params: [most()], length: 1 });
        return true;
      });
    }
  };
  bound(OF_ROWS, () => terminal.rows);
  bound(OF_COLUMNS, () => terminal.cols);
}

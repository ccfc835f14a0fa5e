// Shows a terminal whose size somebody else sets: whole, in the letters of this person where they fit, else in smaller
// ones. Where even the smallest that can be read do not fit, it scrolls.

const LEAST_FONT_PX = 7;
/** Letters have whole pixels in places, so that the first guess may be a little too large. */
const MOST_STEPS = 6;
const STEP_PX = 0.5;

/** `cols`, `rows` and the person's `fontPx`. Calling it again, for another size of the window, is cheap. */
export function letterbox(terminal, container, { cols, rows, fontPx }) {
  container.setAttribute("data-boxed", "");
  if (terminal.cols !== cols || terminal.rows !== rows) terminal.resize(cols, rows);
  const { clientWidth: width, clientHeight: height } = container;
  if (width === 0 || height === 0) return; // not shown
  const excess = () => {
    const screen = container.querySelector(".xterm-screen");
    return Math.max(screen.offsetWidth / width, screen.offsetHeight / height);
  };
  setFont(terminal, fontPx);
  if (excess() > 1) setFont(terminal, fontPx / excess());
  for (let step = 0; step < MOST_STEPS && excess() > 1; step += 1) setFont(terminal, terminal.options.fontSize - STEP_PX);
}

function setFont(terminal, wantedPx) {
  const fontPx = Math.max(LEAST_FONT_PX, Math.floor(wantedPx / STEP_PX) * STEP_PX);
  if (terminal.options.fontSize !== fontPx) terminal.options.fontSize = fontPx;
}

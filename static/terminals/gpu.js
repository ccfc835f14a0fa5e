// Drawing with the GPU, where there is one and it has room: a browser keeps 16 WebGL contexts alive and takes the oldest
// away for a new one, and a terminal that loses its context shows nothing for three seconds.

import { WebglAddon } from "../vendor/addon-webgl.mjs";

/** The rest is for other pages: Chromium counts the contexts of a site's tabs together. */
const MOST = 8;

let used = 0;

/**
 * Lets an opened terminal draw with the GPU if it can, else xterm's own renderer stays, which uses the DOM. Answers a
 * function that gives the place free; the terminal's own `dispose` does not.
 */
export function drawWithGpu(terminal) {
  if (used >= MOST) return () => {};
  const webgl = new WebglAddon();
  let isHeld = true;
  const release = () => {
    if (!isHeld) return;
    isHeld = false;
    used -= 1;
    webgl.dispose();
  };
  used += 1;
  webgl.onContextLoss(release);
  try {
    terminal.loadAddon(webgl);
  } catch {
    release(); // no WebGL 2 here
  }
  return release;
}

// Colours of the terminal, for dark and light. xterm.js wants them as values; the frame has its own in terminal.css.

const DARK = {
  background: "#0f1318",
  foreground: "#d6dbe1",
  cursor: "#7cb7ff",
  cursorAccent: "#0f1318",
  selectionBackground: "#2f4a6b",
  selectionInactiveBackground: "#2a3644",
  black: "#252c35",
  red: "#f0716b",
  green: "#6fc276",
  yellow: "#d9b25f",
  blue: "#6ea8f5",
  magenta: "#c792ea",
  cyan: "#5cc4cd",
  white: "#c3cad3",
  brightBlack: "#6f7b89",
  brightRed: "#ff9a94",
  brightGreen: "#97dc9c",
  brightYellow: "#f0d08a",
  brightBlue: "#9cc6ff",
  brightMagenta: "#ddb6f5",
  brightCyan: "#8fe0e6",
  brightWhite: "#f4f6f8",
};

const LIGHT = {
  background: "#ffffff",
  foreground: "#1d242c",
  cursor: "#1a5fb4",
  cursorAccent: "#ffffff",
  selectionBackground: "#b9d6f8",
  selectionInactiveBackground: "#dbe5ef",
  black: "#1d242c",
  red: "#b3261e",
  green: "#1e7a33",
  yellow: "#8a5a00",
  blue: "#1a5fb4",
  magenta: "#8232a8",
  cyan: "#0b7285",
  white: "#66707c",
  brightBlack: "#545e6a",
  brightRed: "#c9372c",
  brightGreen: "#22863a",
  brightYellow: "#946200",
  brightBlue: "#2a70c8",
  brightMagenta: "#9440bd",
  brightCyan: "#0f7f93",
  brightWhite: "#3a434d",
};

const prefersLight = window.matchMedia("(prefers-color-scheme: light)");

/** Options of the terminal for the person's colour scheme; programs assume a dark one, so light enforces contrast. */
function themeOptions() {
  return prefersLight.matches ? { theme: LIGHT, minimumContrastRatio: 4.5 } : { theme: DARK, minimumContrastRatio: 1 };
}

/** Keeps the terminal in the person's colour scheme, also when that changes. */
export function followTheme(terminal) {
  const apply = () => Object.assign(terminal.options, themeOptions());
  apply();
  prefersLight.addEventListener("change", apply);
}

/** Marks of found text; the search add-on takes #RRGGBB only. */
export function searchColours() {
  return prefersLight.matches
    ? { matchBackground: "#ffe08a", activeMatchBackground: "#ffb020", matchOverviewRuler: "#c98a00", activeMatchColorOverviewRuler: "#1a5fb4" }
    : { matchBackground: "#574a1c", activeMatchBackground: "#96711a", matchOverviewRuler: "#d9b25f", activeMatchColorOverviewRuler: "#7cb7ff" };
}

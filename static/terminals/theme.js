// Colours of the terminal. xterm.js wants them as values; the frame around it has its own in palette.css, and takes those
// of the terminal where a person chose a theme.

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

// Ethan Schoonover's Solarized in its terminal mapping, but bright black, which is the background there, as a grey.
const SOLARIZED = {
  black: "#073642",
  red: "#dc322f",
  green: "#859900",
  yellow: "#b58900",
  blue: "#268bd2",
  magenta: "#d33682",
  cyan: "#2aa198",
  white: "#eee8d5",
  brightRed: "#cb4b16",
  brightGreen: "#586e75",
  brightYellow: "#657b83",
  brightBlue: "#839496",
  brightMagenta: "#6c71c4",
  brightCyan: "#93a1a1",
  brightWhite: "#fdf6e3",
};

const SOLARIZED_DARK = {
  ...SOLARIZED,
  background: "#002b36",
  foreground: "#93a1a1",
  cursor: "#93a1a1",
  cursorAccent: "#002b36",
  selectionBackground: "#174f5c",
  selectionInactiveBackground: "#0c3b47",
  brightBlack: "#657b83",
};

const SOLARIZED_LIGHT = {
  ...SOLARIZED,
  background: "#fdf6e3",
  foreground: "#586e75",
  cursor: "#586e75",
  cursorAccent: "#fdf6e3",
  selectionBackground: "#d9d2ba",
  selectionInactiveBackground: "#eee8d5",
  brightBlack: "#839496",
};

const HIGH_CONTRAST = {
  background: "#000000",
  foreground: "#ffffff",
  cursor: "#ffff00",
  cursorAccent: "#000000",
  selectionBackground: "#ffffff",
  selectionForeground: "#000000",
  selectionInactiveBackground: "#b0b0b0",
  black: "#000000",
  red: "#ff6b6b",
  green: "#5dfc5d",
  yellow: "#ffff55",
  blue: "#7fb4ff",
  magenta: "#ff8cff",
  cyan: "#5cffff",
  white: "#ffffff",
  brightBlack: "#b0b0b0",
  brightRed: "#ff9c9c",
  brightGreen: "#9cff9c",
  brightYellow: "#ffffa0",
  brightBlue: "#b0d0ff",
  brightMagenta: "#ffb8ff",
  brightCyan: "#a8ffff",
  brightWhite: "#ffffff",
};

// Programs choose colours for a dark screen, so a light one enforces contrast. Solarized has less than 4.5 by design.
const SCHEMES = {
  dark: { theme: DARK, minimumContrastRatio: 1, isLight: false },
  light: { theme: LIGHT, minimumContrastRatio: 4.5, isLight: true },
  "solarized-dark": { theme: SOLARIZED_DARK, minimumContrastRatio: 1, isLight: false },
  "solarized-light": { theme: SOLARIZED_LIGHT, minimumContrastRatio: 3, isLight: true },
  "high-contrast": { theme: HIGH_CONTRAST, minimumContrastRatio: 7, isLight: false },
};

const prefersLight = window.matchMedia("(prefers-color-scheme: light)");

/** By its name in the preferences; "auto" follows the person's colour scheme. */
function scheme(name) {
  return SCHEMES[name] ?? SCHEMES[prefersLight.matches ? "light" : "dark"];
}

/** Options of the terminal for a theme. */
export function themeOptions(name) {
  const { theme, minimumContrastRatio } = scheme(name);
  return { theme, minimumContrastRatio };
}

/** The same for a program that has asked for reverse video. */
export function reversed(theme) {
  const { foreground, background } = theme;
  return { ...theme, foreground: background, background: foreground, cursor: background, cursorAccent: foreground };
}

/** Calls `listener` when the person's colour scheme changes; answers a function that ends this. */
export function followColourScheme(listener) {
  prefersLight.addEventListener("change", listener);
  return () => prefersLight.removeEventListener("change", listener);
}

/** What the frame takes from the terminal's theme; themes.css mixes the shades between from these. */
const FRAME = {
  "--bg": "background",
  "--fg": "foreground",
  "--accent": "blue",
  "--accent-fg": "background",
  "--danger": "red",
  "--ok": "green",
  "--warn": "yellow",
};

/** Puts the page around the terminals into the colours of the theme; "auto" leaves it to palette.css. */
export function dressPage(name) {
  const root = document.documentElement;
  const chosen = name === "auto" ? null : scheme(name);
  if (chosen === null) delete root.dataset.themed;
  else root.dataset.themed = name;
  root.style.colorScheme = chosen === null ? "" : chosen.isLight ? "light" : "dark";
  for (const [property, colour] of Object.entries(FRAME)) {
    root.style.setProperty(property, chosen?.theme[colour] ?? "");
  }
}

/** Marks of found text; the search add-on takes #RRGGBB only. */
export function searchColours(name) {
  return scheme(name).isLight
    ? { matchBackground: "#ffe08a", activeMatchBackground: "#ffb020", matchOverviewRuler: "#c98a00", activeMatchColorOverviewRuler: "#1a5fb4" }
    : { matchBackground: "#574a1c", activeMatchBackground: "#96711a", matchOverviewRuler: "#d9b25f", activeMatchColorOverviewRuler: "#7cb7ff" };
}

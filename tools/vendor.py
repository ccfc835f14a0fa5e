"""Copy the browser assets that `npm ci` installed into static/vendor/, which git ignores.

Only the files that pages load are taken. Source-map comments are stripped: the maps are not shipped, and
manifest storage refuses a reference to a file that is not there.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ASSETS = {
    "@xterm/xterm/lib/xterm.mjs": "xterm.mjs",
    "@xterm/xterm/css/xterm.css": "xterm.css",
    "@xterm/addon-fit/lib/addon-fit.mjs": "addon-fit.mjs",
    "@xterm/addon-search/lib/addon-search.mjs": "addon-search.mjs",
    "@xterm/addon-unicode11/lib/addon-unicode11.mjs": "addon-unicode11.mjs",
    "@xterm/addon-web-links/lib/addon-web-links.mjs": "addon-web-links.mjs",
    "@xterm/addon-webgl/lib/addon-webgl.mjs": "addon-webgl.mjs",
    "htmx.org/dist/htmx.min.js": "htmx.min.js",
}
SOURCE_MAP = re.compile(r"^(//|/\*)# sourceMappingURL=.*$", re.MULTILINE)


def main() -> None:
    target = ROOT / "static" / "vendor"
    target.mkdir(parents=True, exist_ok=True)
    for source, name in ASSETS.items():
        text = (ROOT / "node_modules" / source).read_text()
        (target / name).write_text(SOURCE_MAP.sub("", text))


if __name__ == "__main__":
    main()

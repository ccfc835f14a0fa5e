// Asks for the recording at once, while the browser still loads what shows it: only small modules are imported here.

import { Recording } from "./recording.js";
import { parseMoment } from "./time.js";

export const moment = parseMoment(location.hash) ?? 0;
export const recording = new Recording(document.querySelector("#player").dataset.url);

recording.ask(moment);

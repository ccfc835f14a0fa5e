// The terminal page starts here.

import { allowTerminalStyles } from "./csp.js";
import { Workspace } from "./workspace.js";

allowTerminalStyles();
new Workspace().start();

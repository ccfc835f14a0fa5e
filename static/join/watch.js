// The page on which somebody watches a terminal by a right of their own, or by an invitation.

import { restOfPage } from "../terminals/rest.js";
import { Solo } from "./solo.js";

const { host, login, session } = document.body.dataset;

new Solo({ rest: restOfPage(), place: { host, login }, session }).start();

// What a joiner has: the secret of the link, then their request and its key, then the admission. Kept for this tab alone,
// over a reload and a login; never in the address, where the history and other eyes would have it.

const KEY = "brokerd.join";
const MOST_CHARACTERS = 4096;

/** Takes the secret out of the address, at once. Answers what is known: {secret, ask, key, admission, ..} or null. */
export function takePass() {
  const secret = location.hash.slice(1);
  if (secret === "") return recall();
  history.replaceState(null, "", location.pathname);
  const pass = { secret };
  keepPass(pass);
  return pass;
}

export function keepPass(pass) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(pass));
  } catch {
    // Storage is blocked: a reload needs the link again.
  }
}

/** What is read is not trusted to be ours, only to be harmless. */
function recall() {
  try {
    const text = sessionStorage.getItem(KEY) ?? "";
    const pass = text.length > MOST_CHARACTERS ? null : JSON.parse(text);
    return typeof pass?.secret === "string" ? pass : null;
  } catch {
    return null;
  }
}

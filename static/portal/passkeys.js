// Forms that a passkey fills in: the browser is asked for one, and its answer is sent with the form.

const REFUSALS = {
  NotAllowedError: "Nothing came of it: it was cancelled, took too long, or this device has no passkey for here.",
  InvalidStateError: "This device has a passkey for your account already.",
  SecurityError: "Passkeys do not work at this address.",
};

/** A form has data-passkey: "create" or "get" with the options in the page, or "login", which fetches them. */
export function startPasskeys() {
  if (!globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON || !isNamed(location.hostname)) return;
  for (const note of document.querySelectorAll("[data-no-passkeys]")) note.hidden = true;
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      ask(form);
    });
  }
}

/** Browsers make passkeys for names only, never for an address. */
function isNamed(host) {
  return !/^[\d.]+$|^\[/.test(host);
}

async function ask(form) {
  const button = form.querySelector("button");
  const told = form.querySelector("[role=alert]");
  button.disabled = true;
  told.hidden = true;
  try {
    const credential = await (form.dataset.passkey === "create" ? create(form) : get(form));
    form.elements.credential.value = JSON.stringify(credential);
    form.submit();
  } catch (error) {
    told.textContent = REFUSALS[error.name] ?? error.message;
    told.hidden = false;
    button.disabled = false;
  }
}

function create(form) {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options().creation_options.publicKey);
  const isAlone = form.elements.passwordless.checked;
  publicKey.authenticatorSelection = {
    ...publicKey.authenticatorSelection,
    residentKey: isAlone ? "required" : "discouraged",
    requireResidentKey: isAlone,
    userVerification: isAlone ? "required" : "preferred",
  };
  return navigator.credentials.create({ publicKey });
}

async function get(form) {
  const { request_options: wanted } = form.dataset.passkey === "login" ? await fetched(form.action) : options();
  return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(wanted.publicKey) });
}

function options() {
  return JSON.parse(document.getElementById("passkey-options").textContent);
}

async function fetched(url) {
  const response = await fetch(url, { headers: { Accept: "application/json", "X-Requested-With": "XMLHttpRequest" } });
  if (!response.ok) throw new Error("The broker did not answer as it should. Try again in a moment.");
  return response.json();
}

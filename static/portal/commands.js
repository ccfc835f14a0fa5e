// Copy buttons of commands, and downloads that need a header which a link cannot send.

const COPIED_MS = 1500;

export function startCommands() {
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
  new MutationObserver(() => {
    for (const button of document.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
  }).observe(document.body, { childList: true, subtree: true });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
    const link = event.target.closest("[data-download]");
    if (link) {
      event.preventDefault();
      download(link);
    }
  });
}

async function copy(button) {
  const source = button.parentElement.querySelector("pre");
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    // Without TLS there is no clipboard: at least one keystroke is left.
    getSelection().selectAllChildren(source);
    button.textContent = "Ctrl+C";
  }
  setTimeout(() => { button.textContent = "Copy"; }, COPIED_MS);
}

async function download(link) {
  const words = link.textContent;
  link.textContent = "Exporting…";
  try {
    const response = await fetch(link.href, { headers: { Accept: link.dataset.accept } });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const saving = document.createElement("a");
    saving.href = URL.createObjectURL(await response.blob());
    saving.download = link.dataset.download;
    saving.click();
    URL.revokeObjectURL(saving.href);
    link.textContent = words;
  } catch (error) {
    link.textContent = `Export failed: ${error.message}`;
  }
}

// Lets xterm.js style itself under a strict Content-Security-Policy, without 'unsafe-inline'.

/**
 * Must run before the first terminal opens. xterm.js makes <style> elements, which need the page's nonce, and its DOM
 * renderer gives single cells their colour with setAttribute("style"), which the policy forbids; the same through
 * CSSOM is allowed.
 */
export function allowTerminalStyles() {
  const nonce = document.querySelector("script[nonce]")?.nonce ?? "";
  const createElement = document.createElement;
  document.createElement = function (name, options) {
    const element = createElement.call(this, name, options);
    if (element instanceof HTMLStyleElement) element.nonce = nonce;
    return element;
  };
  HTMLSpanElement.prototype.setAttribute = function (name, value) {
    if (name === "style") this.style.cssText = value;
    else Element.prototype.setAttribute.call(this, name, value);
  };
}

// The bell of a terminal (BEL): a gentle flash, a short tone, or neither, as the person likes it.

/** WCAG 2.3.1 allows three flashes a second. */
const FLASH_EVERY_MS = 350;
const FLASH_MS = 250;
const TONE = { hertz: 740, seconds: 0.09, gain: 0.06 };

export class Bell {
  #preferences;
  #lastRungAt = -Infinity;
  #audio = null;

  constructor(preferences) {
    this.#preferences = preferences;
  }

  /** Rings for the pane; at most three times a second, whatever programs do, in all panes together. */
  ring(pane) {
    const now = performance.now();
    if (now - this.#lastRungAt < FLASH_EVERY_MS) return;
    this.#lastRungAt = now;
    const { bell } = this.#preferences.values;
    if (bell === "visual" || bell === "both") flash(pane);
    if (bell === "sound" || bell === "both") this.#sound();
  }

  #sound() {
    this.#audio ??= new AudioContext();
    // Suspended until the person has done something in the page; a tone that comes minutes late says nothing.
    if (this.#audio.state === "suspended") {
      this.#audio.resume();
      return;
    }
    const { hertz, seconds, gain } = TONE;
    const start = this.#audio.currentTime;
    const volume = new GainNode(this.#audio, { gain: 0 });
    volume.gain.linearRampToValueAtTime(gain, start + 0.01);
    volume.gain.linearRampToValueAtTime(0, start + seconds);
    const tone = new OscillatorNode(this.#audio, { frequency: hertz });
    tone.connect(volume).connect(this.#audio.destination);
    tone.start(start);
    tone.stop(start + seconds);
  }
}

function flash(pane) {
  pane.toggleAttribute("data-rings", true);
  setTimeout(() => pane.toggleAttribute("data-rings", false), FLASH_MS);
}

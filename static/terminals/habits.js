// How the person at this page works: the preferences and all that comes of them for the page as a whole, the looks of
// its frame, the bell, the question before a paste and the keys for touch screens.

import { Bell } from "./bell.js";
import { PasteQuestion } from "./pasting.js";
import { FONT_PX, Preferences, preferencesInPage } from "./preferences.js";
import { SettingsDialog } from "./settings.js";
import { dressPage } from "./theme.js";
import { TouchKeys } from "./touch.js";

export class Habits {
  #active;
  #touch;
  #bell;
  #settings;
  #pasteQuestion = new PasteQuestion();

  #actions = {
    settings: () => this.#settings.open(),
    smaller: () => this.#changeFontSize(-1),
    larger: () => this.#changeFontSize(1),
    reader: () => this.#toggleReader(),
  };

  /** `api` is the Api; `active()` answers the active pane. */
  constructor({ api, active }) {
    this.#active = active;
    this.preferences = new Preferences({
      values: preferencesInPage(),
      save: (values) => api.savePreferences(values),
      failed: (problem) => active().note(`The settings are not saved: ${problem.message} This page keeps them.`),
    });
    this.#bell = new Bell(this.preferences);
    this.#touch = new TouchKeys(active);
    this.#settings = new SettingsDialog(this.preferences, () => active().focus());
    this.preferences.follow((values) => this.#dress(values));
  }

  /** May change what is typed: Ctrl and Alt of the key bar. */
  get modifiers() {
    return this.#touch.modifiers;
  }

  /** Does what a button or a shortcut asks; false for a name that it does not know. */
  act(name) {
    if (!Object.hasOwn(this.#actions, name)) return false;
    this.#actions[name]();
    return true;
  }

  /** A program rang the bell in the pane. */
  ring(pane) {
    this.#bell.ring(pane.element);
  }

  /** Whether the paste may go to the host; `raw` is the clipboard as it is, `paste` what inspectPaste says of it. */
  async agreesToPaste(paste, raw, host) {
    if (!paste.mustAsk || !this.preferences.values.confirm_paste) return true;
    const { isAgreed, asksAgain } = await this.#pasteQuestion.ask(paste, raw, host);
    if (isAgreed && !asksAgain) this.preferences.change({ confirm_paste: false });
    return isAgreed;
  }

  #dress({ theme, screen_reader: isReadAloud }) {
    dressPage(theme);
    document.querySelector("[data-action=reader]").ariaPressed = String(isReadAloud);
  }

  #changeFontSize(step) {
    const wanted = this.preferences.values.font_size + step;
    this.preferences.change({ font_size: Math.min(FONT_PX.most, Math.max(FONT_PX.least, wanted)) });
    this.#active().focus();
  }

  #toggleReader() {
    this.preferences.change({ screen_reader: !this.preferences.values.screen_reader });
    this.#active().focus();
  }
}

// The REST calls that the terminal page makes.

/** Most entries that the broker gives at once. */
const LIST_LIMIT = 1000;

export class Api {
  #rest;

  constructor(rest) {
    this.#rest = rest;
  }

  /** Opens a terminal session: {id, ticket, socket}. */
  openSession(host, login, { cols, rows }) {
    return this.#rest.call("POST", "/sessions", { host, login, cols, rows });
  }

  /** A ticket to attach to a session of one's own: {ticket, socket}. Who has lent the keyboard watches all the same. */
  takeTicket(session) {
    return this.#rest.call("POST", `/sessions/${encodeURIComponent(session)}/tickets`, { role: "driver" });
  }

  /** Ends the shell. Also resolves where that is so already. */
  async endSession(session) {
    try {
      await this.#rest.call("DELETE", `/sessions/${encodeURIComponent(session)}`);
    } catch (problem) {
      if (problem.status !== 404 && problem.status !== 409) throw problem;
    }
  }

  /** The person's own live sessions, newest first: [{id, host, login, way, viewers, ..}]. */
  openSessions() {
    return this.#list(`/sessions?live=1&mine=1&limit=${LIST_LIMIT}`);
  }

  /** The hosts within reach: [{name, online, offline_reason, rights: [{login, capabilities}], ..}]. */
  hosts() {
    return this.#list(`/hosts?limit=${LIST_LIMIT}`);
  }

  /** One of the hosts within reach: {name, online, ..}. */
  host(name) {
    return this.#rest.call("GET", `/hosts/${encodeURIComponent(name)}`);
  }

  /** Stores the person's preferences, whole; answers them as stored. */
  savePreferences(preferences) {
    return this.#rest.call("PUT", "/preferences", preferences, { keepalive: true }); // also from a page that is being left
  }

  async #list(path) {
    return (await this.#rest.call("GET", path)).items;
  }
}

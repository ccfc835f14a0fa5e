// The REST calls about the people in one terminal session.

export class Sharing {
  #rest;
  #path;
  #admission;

  /** `admission`: what let a joiner in, for those calls that a guest may make; null for everybody with a login. */
  constructor(rest, session, admission = null) {
    this.#rest = rest;
    this.#path = `/sessions/${encodeURIComponent(session)}`;
    this.#admission = admission;
  }

  /** Whether the person's grants let them share what is open as `login` on `host`. */
  async mayShare({ host, login }) {
    const { rights } = await this.#rest.call("GET", `/hosts/${encodeURIComponent(host)}`);
    return rights.some((right) => right.login === login && right.capabilities.includes("share"));
  }

  /** Who is here and who asks, for the owner: {items, asking}. */
  viewers() {
    return this.#call("GET", "/viewers");
  }

  /** Lets somebody in who asks, or refuses. */
  answer(ask, isAdmitted) {
    return this.#call("POST", `/asks/${encodeURIComponent(ask)}`, { admit: isAdmitted });
  }

  /** Gives the keyboard to a viewer. */
  handOver(viewer) {
    return this.#call("POST", `/viewers/${encodeURIComponent(viewer)}/drive`);
  }

  /** Takes the keyboard back for the owner. */
  takeBack() {
    return this.#call("POST", "/drive");
  }

  /** Shows a viewer the door. */
  remove(viewer) {
    return this.#call("DELETE", `/viewers/${encodeURIComponent(viewer)}`);
  }

  /** A line to everybody here. */
  say(text) {
    return this.#call("POST", "/say", { text, ...(this.#admission === null ? {} : { admission: this.#admission }) });
  }

  /** The shares that are in force: [{id, role, person, guests, expires}]. */
  async shares() {
    const { items } = await this.#call("GET", "/shares");
    return items.filter(({ revoked, expires }) => !revoked && new Date(expires) > new Date());
  }

  /** Makes a share of {role, person?, expires, guests}: {id, url, ..}. The url is told this once. */
  share(wanted) {
    return this.#call("POST", "/shares", wanted);
  }

  /** Ends a share, and what came by it. */
  revoke(share) {
    return this.#call("DELETE", `/shares/${encodeURIComponent(share)}`);
  }

  #call(method, path, body) {
    return this.#rest.call(method, this.#path + path, body);
  }
}

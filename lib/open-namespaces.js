"use strict";
// The open namespaces of an engine, and who gets their events.

/**
 * @typedef {object} NamespaceListener what the engine calls for an open namespace
 * @property {(event: import("./engine").EventOf<"entry">) => void} onEntry
 * @property {(broadcast: import("./events").Broadcast) => void} onBroadcast
 * @property {(payload: Uint8Array) => void} onPayload
 * @property {() => void} onMembersChanged
 * @property {(loss: import("../index").Loss) => void} onLost
 * @property {() => void} onReconnected the connection of requests, or one of sessions, was away
 * @property {(event: import("./engine").EventOf<"sessionTaken">) => void} onSessionTaken
 * @property {(session: any) => void} onSessionExpired
 *
 * @typedef {{ nsp: string, listener: NamespaceListener }} Open
 */

class OpenNamespaces {
  #streamOf;
  /** By handle. @type {Map<number, Open>} */
  #open = new Map();
  /** The handles, by name. @type {Map<string, number>} */
  #handles = new Map();

  /** @param {(nsp: string) => number} streamOf the index of a namespace's stream */
  constructor(streamOf) {
    this.#streamOf = streamOf;
  }

  get size() {
    return this.#open.size;
  }

  /** @param {string} nsp */
  has(nsp) {
    return this.#handles.has(nsp);
  }

  /** @param {number} handle */
  get(handle) {
    return this.#open.get(handle);
  }

  /**
   * Adds a namespace. The server may have got another adapter for it: the one before gets no more events.
   *
   * @param {number} handle
   * @param {Open} open
   */
  add(handle, open) {
    this.#open.delete(this.#handles.get(open.nsp) ?? -1);
    this.#handles.set(open.nsp, handle);
    this.#open.set(handle, open);
  }

  /** @param {number} handle */
  delete(handle) {
    const { nsp } = this.#open.get(handle) ?? {};
    if (nsp !== undefined && this.#handles.get(nsp) === handle) {
      this.#handles.delete(nsp);
    }
    this.#open.delete(handle);
  }

  /** @param {(listener: NamespaceListener) => void} tell called for each */
  tellAll(tell) {
    this.#open.forEach(({ listener }) => tell(listener));
  }

  /** @param {number} [stream] its index; without it, the namespaces of all streams */
  ofStream(stream) {
    const all = [...this.#open.values()];
    return stream === undefined ? all : all.filter(({ nsp }) => this.#streamOf(nsp) === stream);
  }
}

module.exports = { OpenNamespaces };

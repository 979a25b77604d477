// Numbered packets from several nodes, and the proof that every client got each of them once and
// all in one order.

"use strict";

const assert = require("node:assert/strict");
const { waitFor } = require("../helpers/wait");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */
/** @typedef {{ emit: (event: string, ...args: any[]) => unknown }} Emitter */

const EVENT = "numbered";

class Traffic {
  /**
   * @param {Emitter[]} emitters servers
   * @param {SocketClient[]} clients who get the packets
   */
  constructor(emitters, clients) {
    this.emitters = emitters;
    this.clients = clients;
    /** How many packets each emitter has emitted. */
    this.counts = emitters.map(() => 0);
    /** @type {NodeJS.Timeout | undefined} */
    this.timer = undefined;
  }

  get total() {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }

  /**
   * Emits one packet.
   *
   * @param {number} [from] index of the emitter
   * @param {any} [load] goes with it
   */
  emit(from = 0, load) {
    this.emitters[from].emit(EVENT, from, this.counts[from]++, load);
  }

  /** Emits from all at a steady rate. @param {number} interval ms */
  start(interval) {
    this.timer = setInterval(() => this.emitters.forEach((_, from) => this.emit(from)), interval);
  }

  stop() {
    clearInterval(this.timer);
  }

  /**
   * What a client got, as `emitter:number`.
   *
   * @param {SocketClient} client
   * @returns {string[]}
   */
  received(client) {
    return client.received(EVENT).map(([from, number]) => `${from}:${number}`);
  }

  /**
   * Waits until every client has got something from each emitter that was emitted after this call.
   */
  async flows() {
    const marks = [...this.counts];
    const missing = () =>
      this.clients.flatMap((client, place) => {
        const received = client.received(EVENT);
        return marks
          .map((mark, from) => ({ from, mark }))
          .filter(({ from, mark }) => !received.some(([f, number]) => f === from && number >= mark))
          .map(({ from, mark }) => `client ${place} lacks ${from}:${mark}`);
      });
    await waitFor(() => missing().length === 0, { what: () => missing().join(", ") });
  }

  /**
   * Waits until all packets have come, and asserts that each client got each of them once, those of
   * one emitter in the order in which they were emitted, and all clients the same order.
   *
   * @param {{ timeout?: number }} [options]
   */
  async assertComplete({ timeout } = {}) {
    const counts = () => this.clients.map((client) => client.received(EVENT).length);
    await waitFor(() => counts().every((count) => count >= this.total), {
      timeout,
      what: () => `${this.total} packets at each client, not ${counts()}`,
    });
    const [first, ...others] = this.clients.map((client) => this.received(client));
    this.counts.forEach((count, from) => {
      const own = first.filter((packet) => packet.startsWith(`${from}:`));
      const emitted = Array.from({ length: count }, (_, number) => `${from}:${number}`);
      assert.deepEqual(own, emitted, `the packets of emitter ${from}`);
    });
    for (const other of others) {
      assert.deepEqual(other, first, "what another client received");
    }
  }
}

module.exports = { Traffic, EVENT };

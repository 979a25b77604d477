// Two nodes on a server that may refuse things or close connections, and what has to work all the same.

"use strict";

const assert = require("node:assert/strict");
const { startNodeOn } = require("../helpers/node");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const { EVENT, Traffic } = require("./traffic");
const { takeWarnings } = require("./warnings");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const OPTIONS = { heartbeatInterval: 300, heartbeatTimeout: 3_000 };
const USER = { username: "app", password: "hunter2-7f3a" };
/** Long enough for whatever is done once a second to be done twice. */
const REPETITION = 2_200;

/**
 * Two nodes, with a client each, on servers that may refuse things.
 *
 * @param {import("node:test").TestContext} t
 * @param {any} settings
 * @param {Record<string, unknown>} [adapterOptions]
 */
async function startTwo(t, settings, adapterOptions) {
  takeWarnings();
  const nodes = [];
  for (const index of [0, 1]) {
    const node = await startNodeOn(
      { adapterArgument: settings, close: async () => {} },
      {
        index,
        adapterOptions: { ...OPTIONS, ...adapterOptions },
        serverOptions: { connectionStateRecovery: {} },
      },
    );
    defer(t, () => node.close());
    nodes.push(node);
  }
  const clients = await Promise.all(nodes.map(({ url }) => connectClient(url)));
  defer(t, () => clients.forEach((client) => client.disconnect()));
  clients.forEach(({ socket }, place) => socket.on("ask", (answer) => answer(place)));
  return new Two(nodes, clients);
}

class Two {
  /**
   * @param {import("../helpers/node").SocketIoNode[]} nodes
   * @param {SocketClient[]} clients
   */
  constructor(nodes, clients) {
    this.nodes = nodes;
    this.clients = clients;
    this.ios = nodes.map(({ io }) => io);
    /** @type {any[]} */
    this.adapters = this.ios.map((io) => io.of("/").adapter);
    this.traffic = new Traffic(this.ios, clients);
  }

  /** Waits until the nodes see each other. */
  async areWhole() {
    /** @type {number[]} */
    let counts = [];
    const whole = async () => {
      counts = await Promise.all(this.adapters.map((adapter) => adapter.serverCount()));
      // Who is counted may not read yet.
      const isReading = this.counter("position").every((position) => position !== undefined);
      return isReading && counts.every((count) => count === 2);
    };
    await waitFor(whole, { interval: 20, what: () => `two servers, not ${counts}` });
  }

  /** Asserts that requests are answered, without a second try. */
  async assertRequests() {
    assert.equal((await this.ios[0].fetchSockets()).length, 2, "fetchSockets");
    const answers = await this.ios[1].timeout(2_000).emitWithAck("ask");
    assert.deepEqual(answers.sort(), [0, 1], "answers");
  }

  /** Asserts that packets cross, alone and in batches, each once and in one order. */
  async assertPackets() {
    for (let batch = 0; batch < 5; batch++) {
      for (let i = 0; i < 10; i++) {
        this.traffic.emit(0);
        this.traffic.emit(1);
      }
      await this.traffic.assertComplete();
      this.traffic.emit(batch % 2);
      await this.traffic.assertComplete();
    }
  }

  /**
   * Asserts that a client of one node that comes back to the other one has missed nothing. Nobody waits
   * for its session to be saved, as no client would.
   */
  async assertRecovery() {
    const visitor = await connectClient(this.nodes[0].url);
    this.traffic.emit(0);
    await visitor.receives(EVENT);
    visitor.cut();
    await waitFor(() => this.ios[0].of("/").sockets.size === 1);
    this.traffic.emit(1);
    await this.traffic.assertComplete();
    await visitor.reconnect(this.nodes[1].url);
    assert.equal(visitor.socket.recovered, true, "recovered");
    await visitor.receives(EVENT, 2);
    visitor.disconnect();
    await waitFor(() => this.ios[1].of("/").sockets.size === 1);
  }

  async assertWorks() {
    await this.areWhole();
    await this.assertPackets();
    await this.assertRequests();
    await this.assertRecovery();
  }

  /** @param {string} name of a counter */
  counter(name) {
    return this.adapters.map((adapter) => adapter.stats()[name]);
  }
}

/** HELLO needs no right: where the server does not know it, there is no RESP3. */
const IN_RESP2 = "HELLO";

/** @param {string[]} commands */
const renamed = (commands) => commands.flatMap((name) => ["--rename-command", name, ""]);

module.exports = { IN_RESP2, OPTIONS, REPETITION, USER, Two, renamed, startTwo };

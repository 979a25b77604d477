// Three nodes, one of which will not answer: requests that wait for it, and what they end with. For
// the tests of who is alive.

"use strict";

const assert = require("node:assert/strict");
const { after, before } = require("node:test");
const { startNode } = require("../helpers/node");
const { connectClient } = require("../helpers/socket-client");
const { settle, waitFor, within } = require("../helpers/wait");
const { MessageType } = require("../helpers/wire");
const { startAnsweringNode } = require("./answering-node");
const { defer } = require("./defer");

/** @typedef {import("../helpers/adapters").Kind} Kind */
/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

/** Time-out of the requests whose time-out can be chosen, ms. */
const LONG = 20_000;
/** serverSideEmit's, which cannot. */
const FIXED = 5_000;
/** An end before this is no time-out: of neither kind, ms. */
const WELL_BEFORE = 3_000;

const SURVIVOR = 1;
const VICTIM = 2;

/**
 * Three nodes: the one that asks in this process, one that survives, and a victim, which is started
 * anew for each test. Each has a client; what the clients answer to "ask" is their node's index.
 */
class Trio {
  /**
   * @param {{ redis: import("../helpers/redis-server").RedisServer }} context
   * @param {string} name of stream and channels, so that no other test is in the way
   * @param {Record<string, unknown>} adapterOptions
   * @param {Kind} survivorKind
   */
  constructor(context, name, adapterOptions, survivorKind) {
    this.context = context;
    this.survivorKind = survivorKind;
    this.adapterOptions = { ...adapterOptions, streamName: name, channelPrefix: name };
    /** @type {SocketClient[]} */
    this.clients = [];
    /** @type {any} */
    this.asker = undefined;
    /** @type {any} */
    this.survivor = undefined;
  }

  async start() {
    const { redis } = this.context;
    this.asker = await startNode({ redis, index: 0, adapterOptions: this.adapterOptions });
    this.survivor = await this.startProcess(SURVIVOR, this.survivorKind);
    await this.connect(this.asker.url, 0);
    await this.connect(this.survivor.url, SURVIVOR);
    if (this.survivorKind === "upstream-0.2") {
      // It reads from `$` until its first entry: until then it may miss who says hello.
      await waitFor(
        async () => {
          this.asker.io.emit("first entry");
          return (await this.survivor.serverCount()) === 2;
        },
        { what: "the survivor to read" },
      );
    }
    return this;
  }

  /**
   * @param {number} index
   * @param {Kind} kind
   */
  startProcess(index, kind) {
    const { adapterOptions } = this;
    return startAnsweringNode({ redis: this.context.redis, index, kind, adapterOptions });
  }

  /**
   * @param {string} url
   * @param {number} index
   * @param {{ answers?: boolean }} [options]
   */
  async connect(url, index, { answers = true } = {}) {
    const client = await connectClient(url);
    if (answers) {
      client.socket.on("ask", (answer) => answer(index));
    }
    this.clients.push(client);
    return client;
  }

  /**
   * Starts a victim and ends it with the test.
   *
   * @param {import("node:test").TestContext} t
   * @param {Kind} [kind]
   */
  async startVictim(t, kind = "native") {
    const victim = await this.startProcess(VICTIM, kind);
    defer(t, async () => {
      await victim.kill();
      await this.counts(2);
    });
    await this.counts(3);
    return victim;
  }

  /** @type {any} */
  get adapter() {
    return this.asker.io.of("/").adapter;
  }

  /**
   * Waits until asker and survivor count so many servers.
   *
   * @param {number} expected
   */
  async counts(expected) {
    /** @type {number[]} */
    let counts = [];
    await waitFor(
      async () => {
        counts = [await this.adapter.serverCount(), await this.survivor?.serverCount()];
        return counts.every((count) => count === expected);
      },
      { what: () => `${expected} servers to be counted, not ${counts}` },
    );
  }

  async close() {
    this.clients.forEach((client) => client.disconnect());
    await this.survivor?.kill();
    await this.asker?.close();
  }
}

/**
 * @param {{ redis: import("../helpers/redis-server").RedisServer }} context
 * @param {string} name
 * @param {Record<string, unknown>} adapterOptions
 * @param {Kind} [survivorKind]
 * @returns {{ trio: Trio }}
 */
function useTrio(context, name, adapterOptions, survivorKind = "native") {
  const fixture = { trio: new Trio(context, name, adapterOptions, survivorKind) };
  before(() => fixture.trio.start());
  after(() => fixture.trio.close());
  return fixture;
}

/**
 * How many answers of remote nodes are in for the open request of a type.
 *
 * @param {Trio} trio
 * @param {number} type
 * @returns {number | undefined}
 */
function answersIn({ adapter }, type) {
  const open = [...adapter.requests.values()];
  return open.find((request) => request.type === type)?.current;
}

/** @param {any[]} values */
const sorted = (values) => [...values].sort();
/** @param {{ id: string }[]} sockets */
const idsOf = (sockets) => sockets.map(({ id }) => id).sort();
/** @param {{ index: number }[]} answers */
const byIndex = (answers) => [...answers].sort((a, b) => a.index - b.index);

/**
 * The three kinds of request: each sends one, and knows how many answers of remote nodes are in.
 *
 * @type {Record<string, (trio: Trio) => { result: Promise<any[]>, answers: () => number | undefined }>}
 */
const REQUESTS = {
  fetchSockets: (trio) => ({
    result: trio.asker.io.timeout(LONG).fetchSockets().then(idsOf),
    answers: () => answersIn(trio, MessageType.FETCH_SOCKETS),
  }),
  serverSideEmit: (trio) => ({
    result: trio.asker.io.serverSideEmitWithAck("ask", "what").then(byIndex),
    answers: () => answersIn(trio, MessageType.SERVER_SIDE_EMIT),
  }),
  "broadcast with acknowledgements"({ asker, clients }) {
    const counts = clients.map((client) => client.received("ask").length);
    return {
      result: asker.io.timeout(LONG).emitWithAck("ask").then(sorted),
      // How many are in cannot be seen; the settle time below covers the survivor's answer.
      answers: () =>
        clients.every((client, i) => client.received("ask").length > counts[i]) ? 1 : 0,
    };
  },
};

/**
 * What the requests are answered by the asker, where it answers itself, and by the survivor.
 *
 * @type {Record<string, (trio: Trio) => any[]>}
 */
const ANSWERS = {
  fetchSockets: ({ clients: [own, survivors] }) => [own.id, survivors.id].sort(),
  serverSideEmit: () => [{ index: SURVIVOR, arg: "what" }],
  "broadcast with acknowledgements": () => [0, SURVIVOR],
};

/**
 * Sends a request that the victim does not answer, ends the victim once the survivor has answered,
 * and asserts that this ends the request.
 *
 * @param {Trio} trio
 * @param {string} request
 * @param {() => unknown} end
 */
async function assertEndsWith(trio, request, end) {
  const { result, answers } = REQUESTS[request](trio);
  let open = true;
  result.finally(() => (open = false)).catch(() => {});
  await waitFor(() => answers() === 1, { what: "the survivor's answer" });
  await settle();
  assert.ok(open, "the request waits for the victim");
  await end();
  const answered = await within(result, "the request to end with its victim", WELL_BEFORE);
  assert.deepEqual(answered, ANSWERS[request](trio));
  await trio.counts(2);
  const { requests, ackRequests } = trio.adapter;
  // The test may make other requests meanwhile.
  await waitFor(() => requests.size + ackRequests.size === 0, { what: "no request to be open" });
}

module.exports = {
  ...{ LONG, WELL_BEFORE, SURVIVOR, VICTIM },
  ...{ REQUESTS, ANSWERS, idsOf, useTrio, assertEndsWith },
};

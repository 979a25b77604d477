// Requests end when everyone who is alive has answered: nodes that are killed, leave, hang or are
// busy while a request is open. The other nodes run in processes of their own.

"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");
const { useRedis } = require("../helpers/cluster");
const { startNode } = require("../helpers/node");
const { connectClient } = require("../helpers/socket-client");
const { settle, waitFor, within } = require("../helpers/wait");
const { MessageType } = require("../helpers/wire");
const { defer } = require("./defer");
const { startNodeProcess } = require("./node-process");

/** @typedef {import("../helpers/adapters").Kind} Kind */
/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */
/** @typedef {import("./node-process").NodeProcess} NodeProcess */

/** Time-out of the requests whose time-out can be chosen, ms. */
const LONG = 20_000;
/** serverSideEmit's, which cannot. */
const FIXED = 5_000;
/** An end before this is no time-out: of neither kind, ms. */
const WELL_BEFORE = 3_000;

const SURVIVOR = 1;
const VICTIM = 2;

const context = useRedis();

/**
 * Three nodes: the one that asks in this process, one that survives, and a victim, which is started
 * anew for each test. Each has a client; what the clients answer to "ask" is their node's index.
 */
class Trio {
  /**
   * @param {string} name of stream and channels, so that no other test is in the way
   * @param {Record<string, unknown>} adapterOptions
   */
  constructor(name, adapterOptions) {
    this.adapterOptions = { ...adapterOptions, streamName: name, channelPrefix: name };
    /** @type {SocketClient[]} */
    this.clients = [];
    /** @type {any} */
    this.asker = undefined;
    /** @type {any} */
    this.survivor = undefined;
  }

  async start() {
    const { redis } = context;
    this.asker = await startNode({ redis, index: 0, adapterOptions: this.adapterOptions });
    this.survivor = await this.startProcess(SURVIVOR, "native");
    await this.connect(this.asker.url, 0);
    await this.connect(this.survivor.url, SURVIVOR);
    return this;
  }

  /**
   * @param {number} index
   * @param {Kind} kind
   */
  startProcess(index, kind) {
    return startNodeProcess(context.redis, { index, kind, adapterOptions: this.adapterOptions });
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
        counts = [await this.adapter.serverCount(), await this.survivor?.call("serverCount")];
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
 * @param {string} name
 * @param {Record<string, unknown>} adapterOptions
 * @returns {{ trio: Trio }}
 */
function useTrio(name, adapterOptions = {}) {
  const fixture = { trio: new Trio(name, adapterOptions) };
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
  assert.equal(trio.adapter.requests.size + trio.adapter.ackRequests.size, 0, "nothing is kept");
}

/**
 * How a node goes.
 *
 * @type {Record<string, (victim: NodeProcess) => Promise<unknown>>}
 */
const ENDS = {
  "is killed": (victim) => victim.kill(),
  "closes its adapter": (victim) => victim.call("closeAdapter"),
  "closes its server": (victim) => victim.call("closeIo"),
};

// Without heartbeats to speak of: an end is seen by Redis, not by silence. It breaks when open
// requests do not look again who listens: each then waits for its time-out, as upstream's do.
describe("a node goes while a request is open", () => {
  const fixture = useTrio("goes", { heartbeatInterval: 60_000, heartbeatTimeout: 120_000 });

  for (const request of Object.keys(REQUESTS)) {
    for (const [how, end] of Object.entries(ENDS)) {
      test(`${request}, a node ${how}`, async (t) => {
        const victim = await fixture.trio.startVictim(t);
        await victim.call("mute");
        await assertEndsWith(fixture.trio, request, () => end(victim));
      });
    }

    test(`${request}, an upstream node is killed`, async (t) => {
      const victim = await fixture.trio.startVictim(t, "upstream");
      await victim.call("mute");
      await assertEndsWith(fixture.trio, request, () => victim.kill());
    });
  }

  // Breaks when a dead node's number of clients is reported as what it said, not as what came:
  // socket.io then waits for clients that are gone.
  for (const kind of /** @type {Kind[]} */ (["native", "upstream"])) {
    test(`clients of a killed ${kind} node that had answered are counted`, async (t) => {
      const { trio } = fixture;
      const victim = await trio.startVictim(t, kind);
      const silent = await trio.connect(victim.url, VICTIM, { answers: false });
      const answering = await trio.connect(victim.url, VICTIM);
      const result = trio.asker.io.timeout(LONG).emitWithAck("ask");
      await silent.receives("ask");
      await answering.receives("ask");
      await settle();
      await victim.kill();
      trio.clients.splice(2);
      const answers = await within(result, "the broadcast to end", WELL_BEFORE);
      assert.deepEqual(answers.sort(), [0, SURVIVOR, VICTIM]);
    });
  }

  // Breaks when the end of one request ends another, or when a place is vacated twice.
  test("several requests are open, and two nodes are killed", async (t) => {
    const { trio } = fixture;
    const victim = await trio.startVictim(t);
    const second = await trio.startProcess(3, "upstream");
    defer(t, () => second.kill());
    await trio.counts(4);
    await Promise.all([victim.call("mute"), second.call("mute")]);
    const open = Object.entries(REQUESTS).map(([request, send]) => ({ request, ...send(trio) }));
    await waitFor(() => open.every(({ answers }) => answers() === 1), { what: "the answers" });
    await victim.kill();
    await trio.counts(3);
    await settle();
    assert.equal(trio.adapter.requests.size, 2, "the requests wait for the second victim");
    await second.kill();
    for (const { request, result } of open) {
      const answered = await within(result, `${request} to end`, WELL_BEFORE);
      assert.deepEqual(answered, ANSWERS[request](trio), request);
    }
  });
});

describe("a node is silent or busy while a request is open", () => {
  const SILENCE = 900;
  const fixture = useTrio("silent", { heartbeatInterval: 150, heartbeatTimeout: SILENCE });

  // Breaks when only Redis is asked who is there: a stopped process stays subscribed. And when its
  // subscriptions are taken for those of an upstream node, which is waited for.
  for (const request of Object.keys(REQUESTS)) {
    test(`${request}, a node hangs (SIGSTOP)`, async (t) => {
      const victim = await fixture.trio.startVictim(t);
      await victim.call("mute");
      await assertEndsWith(fixture.trio, request, () => victim.pause());
    });
  }

  // Breaks when a silent node is forgotten for good, or a late answer upsets a later request.
  test("a node that hung comes back", async (t) => {
    const { trio } = fixture;
    const victim = await trio.startVictim(t);
    const client = await trio.connect(victim.url, VICTIM);
    defer(t, () => trio.clients.pop());
    victim.pause();
    const without = await within(REQUESTS.fetchSockets(trio).result, "the first", WELL_BEFORE);
    assert.deepEqual(without, ANSWERS.fetchSockets(trio));
    await trio.counts(2);
    victim.resume();
    await trio.counts(3);
    const all = await within(REQUESTS.fetchSockets(trio).result, "the second", WELL_BEFORE);
    assert.deepEqual(all, [...without, client.id].sort());
  });

  // Breaks when heartbeats come from the event loop: a busy node looks dead, and its answers are
  // left out.
  test("a node with a blocked event loop is counted and waited for", async (t) => {
    const { trio } = fixture;
    const victim = await trio.startVictim(t);
    const client = await trio.connect(victim.url, VICTIM);
    defer(t, () => trio.clients.pop());
    const start = Date.now();
    await victim.call("block", 2 * SILENCE);
    await settle(20); // the process answers first, then blocks
    const open = Object.entries(REQUESTS).map(([request, send]) => ({ request, ...send(trio) }));
    while (Date.now() - start < 2 * SILENCE) {
      assert.equal(await trio.adapter.serverCount(), 3);
      await settle(50);
    }
    const [sockets, answers, acks] = await within(
      Promise.all(open.map(({ result }) => result)),
      "the answers of the busy node",
      WELL_BEFORE,
    );
    assert.deepEqual(sockets, [...ANSWERS.fetchSockets(trio), client.id].sort());
    assert.deepEqual(answers.map(({ index }) => index).sort(), [SURVIVOR, VICTIM]);
    assert.deepEqual(acks, [0, SURVIVOR, VICTIM]);
  });

  // Breaks when the clocks by which others look dead run on while a node is stopped and cut off
  // itself: it then takes everyone for dead until they speak again.
  test("a node that was stopped itself blames nobody", async (t) => {
    const { trio } = fixture;
    const connections = async () => {
      const list = await context.admin.command("CLIENT", "LIST");
      return [...list.matchAll(/^id=(\d+)/gm)].map(([, id]) => id);
    };
    const others = await connections();
    const victim = await trio.startVictim(t);
    assert.equal(await victim.call("serverCount"), 3);
    victim.pause();
    // Or it would hear, when it goes on, what was said meanwhile.
    for (const id of await connections()) {
      if (!others.includes(id)) {
        await context.admin.command("CLIENT", "KILL", "ID", id);
      }
    }
    const count = victim.call("serverCount"); // the first thing that it does when it comes back
    await trio.counts(2);
    await settle(2 * SILENCE);
    victim.resume();
    assert.equal(await count, 3);
    await trio.counts(3);
    const ids = await victim.call("fetchSockets");
    assert.deepEqual(ids.sort(), ANSWERS.fetchSockets(trio));
  });
});

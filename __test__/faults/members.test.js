// Requests end when everyone who is alive has answered: nodes that are killed, leave, hang or are
// busy while a request is open. The other nodes run in processes of their own.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { useRedis } = require("../helpers/cluster");
const { settle, waitFor, within } = require("../helpers/wait");
const { defer } = require("./defer");
const trios = require("./trio");

const { LONG, WELL_BEFORE, SURVIVOR, VICTIM, REQUESTS, ANSWERS, idsOf, assertEndsWith } = trios;

/** @typedef {import("../helpers/adapters").Kind} Kind */
/** @typedef {import("../helpers/remote-node").ChildNode} ChildNode */

const context = useRedis();

/**
 * How a node goes.
 *
 * @type {Record<string, (victim: ChildNode) => Promise<unknown>>}
 */
const ENDS = {
  "is killed": (victim) => victim.kill(),
  "closes its adapter": (victim) => victim.closeAdapter("/"),
  "closes its server": (victim) => victim.call("closeServer"),
};

// Without heartbeats to speak of: an end is seen by Redis, not by silence. It breaks when open
// requests do not look again who listens: each then waits for its time-out, as upstream's do.
describe("a node goes while a request is open: the request ends", () => {
  const fixture = trios.useTrio(context, "goes", {
    heartbeatInterval: 60_000,
    heartbeatTimeout: 120_000,
  });

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

  // Breaks when each further request puts off the look at who listens.
  test("fetchSockets, a node is killed while requests follow each other", async (t) => {
    const { trio } = fixture;
    const victim = await trio.startVictim(t);
    await victim.call("mute");
    /** @type {Promise<unknown>[]} */
    const others = [];
    const timer = setInterval(() => others.push(REQUESTS.serverSideEmit(trio).result), 10);
    defer(t, () => clearInterval(timer));
    await assertEndsWith(trio, "fetchSockets", () => victim.kill());
    clearInterval(timer);
    await Promise.all(others);
  });

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

describe("a node is silent or busy while a request is open: the request waits for the busy one only", () => {
  const SILENCE = 900;
  const fixture = trios.useTrio(context, "silent", {
    heartbeatInterval: 150,
    heartbeatTimeout: SILENCE,
  });

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
    const blocked = victim.block(2 * SILENCE);
    await settle(20);
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
    await blocked;
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
    assert.equal(await victim.serverCount(), 3);
    victim.pause();
    // Or it would hear, when it goes on, what was said meanwhile.
    for (const id of await connections()) {
      if (!others.includes(id)) {
        await context.admin.command("CLIENT", "KILL", "ID", id);
      }
    }
    const count = victim.serverCount(); // the first thing that it does when it comes back
    await trio.counts(2);
    await settle(2 * SILENCE);
    victim.resume();
    assert.equal(await count, 3);
    await trio.counts(3);
    assert.deepEqual(idsOf(await victim.fetchSockets()), ANSWERS.fetchSockets(trio));
  });
});

// Who is alive where requests travel in the stream (`requestsVia: "stream"`), with nodes of upstream
// 0.2 in the cluster: what is dead ends requests, and what could not be heard is not dead.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { useRedis } = require("../helpers/cluster");
const { startNode } = require("../helpers/node");
const { connectClient } = require("../helpers/socket-client");
const { settle, waitFor, within } = require("../helpers/wait");
const { entriesAfter, lastEntryId } = require("../helpers/wire");
const { startAnsweringNode } = require("./answering-node");
const { defer } = require("./defer");
const { takeWarnings } = require("./warnings");
const trios = require("./trio");

const { WELL_BEFORE, VICTIM, REQUESTS, ANSWERS, idsOf, assertEndsWith } = trios;

/** @typedef {import("../helpers/adapters").Kind} Kind */

const context = useRedis();

const OURS = "native-stream";
const KINDS = /** @type {Kind[]} */ ([OURS, "upstream-0.2"]);
const TIMEOUT = 1_500;
const QUICK = { requestsVia: "stream", heartbeatInterval: 250, heartbeatTimeout: TIMEOUT };

/**
 * Asserts again and again, for a while, that nobody is taken for dead.
 *
 * @param {() => Promise<number>} count
 * @param {number} expected
 * @param {number} ms
 */
async function staysAt(count, expected, ms) {
  const end = Date.now() + ms;
  while (Date.now() < end) {
    assert.equal(await count(), expected);
    await settle(20);
  }
}

// Without heartbeats to speak of: only what a node says can tell that it has gone. It breaks when
// no ADAPTER_CLOSE is written, or none is heeded, or open requests are not told.
describe("a node leaves while a request is open: the request ends", () => {
  const slow = { requestsVia: "stream", heartbeatInterval: 60_000, heartbeatTimeout: 120_000 };
  const fixture = trios.useTrio(context, "leaves", slow, "upstream-0.2");

  for (const request of Object.keys(REQUESTS)) {
    for (const kind of KINDS) {
      for (const action of ["closeAdapter", "closeServer"]) {
        test(`${request}, ${kind}: ${action}`, async (t) => {
          const { trio } = fixture;
          const victim = await trio.startProcess(VICTIM, kind);
          defer(t, () => victim.kill());
          await trio.counts(3);
          await victim.call("mute");
          await assertEndsWith(trio, request, () => victim.call(action));
        });
      }
    }
  }
});

describe("a node is killed, hangs or is busy: requests wait for the busy one only", () => {
  const fixture = trios.useTrio(context, "silent", QUICK, "upstream-0.2");

  // Breaks when silence is not noticed, or those who wait are not told.
  for (const request of Object.keys(REQUESTS)) {
    for (const kind of KINDS) {
      test(`${request}, ${kind}: it is killed`, async (t) => {
        const victim = await fixture.trio.startVictim(t, kind);
        await victim.call("mute");
        await assertEndsWith(fixture.trio, request, () => victim.kill());
      });

      test(`${request}, ${kind}: it hangs (SIGSTOP)`, async (t) => {
        const victim = await fixture.trio.startVictim(t, kind);
        await victim.call("mute");
        await assertEndsWith(fixture.trio, request, () => victim.pause());
      });
    }
  }

  // Breaks when heartbeats come from the event loop: upstream then takes us for dead, and does not
  // wait for our answer.
  test("our event loop is blocked: upstream counts us and waits", async (t) => {
    const { trio } = fixture;
    const victim = await trio.startVictim(t, OURS);
    const client = await trio.connect(victim.url, VICTIM);
    defer(t, () => trio.clients.pop());
    const start = Date.now();
    const blocked = victim.block(2 * TIMEOUT);
    await settle(20);
    const sockets = trio.survivor.fetchSockets();
    await staysAt(() => trio.survivor.serverCount(), 3, start + 2 * TIMEOUT - Date.now());
    const expected = [...ANSWERS.fetchSockets(trio), client.id].sort();
    assert.deepEqual(idsOf(await within(sockets, "the answer of the busy node")), expected);
    await blocked;
  });

  // Breaks when the clocks run on while a process is stopped: it then takes everyone for dead until
  // they speak again. Also when what waits for it in the socket counts as having been heard all.
  for (const cut of [false, true]) {
    const how = cut ? "and its connections were cut" : "and what came meanwhile waits for it";
    test(`we were stopped, ${how}: the others are not dead`, async (t) => {
      const { trio } = fixture;
      const connections = async () => {
        const list = await context.admin.command("CLIENT", "LIST");
        return [...list.matchAll(/^id=(\d+)/gm)].map(([, id]) => id);
      };
      const others = await connections();
      const victim = await trio.startVictim(t, OURS);
      assert.equal(await victim.serverCount(), 3);
      const own = (await connections()).filter((id) => !others.includes(id));
      victim.pause();
      for (const id of cut ? own : []) {
        await context.admin.command("CLIENT", "KILL", "ID", id);
      }
      await trio.counts(2);
      await settle(2 * TIMEOUT);
      victim.resume();
      await staysAt(() => victim.serverCount(), 3, TIMEOUT);
      await trio.counts(3);
      assert.deepEqual(idsOf(await victim.fetchSockets()), ANSWERS.fetchSockets(trio));
    });
  }

  // Breaks when the clocks run on while Redis answers nobody: who could not write then may take a
  // while to do so again.
  test("Redis was stopped: a node that comes back later than we is not dead", async (t) => {
    const { trio } = fixture;
    await trio.counts(2);
    defer(t, () => trio.survivor.resume());
    trio.survivor.pause();
    context.redis.pause();
    await settle(2 * TIMEOUT);
    context.redis.resume();
    await staysAt(() => trio.adapter.serverCount(), 2, TIMEOUT / 2);
    trio.survivor.resume();
    await staysAt(() => trio.adapter.serverCount(), 2, 2 * TIMEOUT);
  });

  test("Redis was stopped: nobody is dead, and requests work at once", async () => {
    const { trio } = fixture;
    await trio.counts(2);
    context.redis.pause();
    await settle(2 * TIMEOUT);
    assert.equal(await trio.adapter.serverCount(), 2);
    context.redis.resume();
    const ids = within(REQUESTS.fetchSockets(trio).result, "the request", WELL_BEFORE);
    await staysAt(() => trio.adapter.serverCount(), 2, 2 * TIMEOUT);
    assert.deepEqual(await ids, ANSWERS.fetchSockets(trio));
    await trio.counts(2);
  });

  test("the connections are cut again and again: nobody is dead", async () => {
    const { trio } = fixture;
    for (let round = 0; round < 10; round++) {
      await context.admin.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
      await staysAt(() => trio.adapter.serverCount(), 2, TIMEOUT / 5);
    }
    const ids = within(REQUESTS.fetchSockets(trio).result, "the request", WELL_BEFORE);
    assert.deepEqual(await ids, ANSWERS.fetchSockets(trio));
  });

  // The third node is asked by each request, and that is all that it hears of it. It breaks when
  // answers to others reach its event loop.
  test("answers to others cost no time of the event loop", async (t) => {
    const { trio } = fixture;
    const third = await trio.startVictim(t, OURS);
    const { delivered } = await third.stats();
    for (let i = 0; i < 10; i++) {
      await REQUESTS.fetchSockets(trio).result;
      await trio.survivor.fetchSockets();
    }
    assert.equal((await third.stats()).delivered - delivered, 20);
  });
});

// Breaks when the clocks run on while the reader waits for space in the inbox, or is behind.
test("our reader was paused by a full inbox: the others are not dead", async (t) => {
  const options = { ...QUICK, streamName: "paused" };
  const start = (/** @type {Kind} */ kind, /** @type {object} */ more) =>
    startAnsweringNode({
      redis: context.redis,
      kind,
      adapterOptions: { ...options, ...more },
    });
  const upstream = await start("upstream-0.2", {});
  defer(t, () => upstream.kill());
  const busy = await start(OURS, { inboxBytes: 10_000, readCount: 5 });
  defer(t, () => busy.kill());
  const count = () => busy.serverCount();
  await waitFor(async () => (await count()) === 2, { what: "the two to see each other" });
  const client = await connectClient(busy.url);
  defer(t, () => client.disconnect());
  const { position } = await busy.stats();

  const blocked = busy.block(2 * TIMEOUT);
  await settle(20);
  const packets = 500;
  for (let i = 0; i < packets; i++) {
    await upstream.emit("packet", ["x".repeat(1_000)]);
  }
  await staysAt(() => upstream.serverCount(), 2, TIMEOUT);
  await staysAt(count, 2, 2 * TIMEOUT);
  await blocked;
  await client.receives("packet", packets);
  const read = await entriesAfter(context.admin, "paused", position);
  assert.ok(read.length > packets, "its reader had to wait, and went on");
  assert.equal((await busy.fetchSockets()).length, 1);
});

// Breaks when the last word is written behind the connections' end, or something behind it.
test("close() says so last, once per namespace", async (t) => {
  const node = await startNode({
    redis: context.redis,
    adapterOptions: { ...QUICK, streamName: "closes" },
  });
  defer(t, () => node.close());
  node.io.of("/chat");
  const { uid } = /** @type {any} */ (node.io.of("/").adapter);
  await waitFor(async () => (await entriesAfter(context.admin, "closes")).length >= 2);
  const last = await lastEntryId(context.admin, "closes");
  for (let i = 0; i < 50; i++) {
    node.io.emit("packet", i);
    node.io.serverSideEmit("event", i);
  }
  await node.io.close();
  node.io.emit("late");
  await settle(2 * QUICK.heartbeatInterval);
  const entries = await entriesAfter(context.admin, "closes", last);
  const late = entries.pop();
  // Nodes of 0.2 would take any other name for that of a node.
  assert.deepEqual([late?.fields.uid, late?.fields.type], ["emitter", "3"]);
  assert.ok(entries.every(({ fields }) => fields.uid === uid));
  const types = (/** @type {string} */ nsp) =>
    entries.filter(({ fields }) => fields.nsp === nsp).map(({ fields }) => fields.type);
  assert.deepEqual(
    types("/chat").filter((type) => type !== "2"),
    ["13"],
  );
  const [end, ...before] = types("/").reverse();
  assert.equal(end, "13");
  assert.equal(before.filter((type) => type === "3").length, 50);
  assert.equal(before.filter((type) => type === "9").length, 50);
  assert.ok(!before.includes("13"));
});

// Breaks when such nodes share the stream in silence: requests would not reach them.
test("a node with requests over PUB/SUB says once that there are nodes of 0.2", async (t) => {
  const options = { streamName: "two protocols", heartbeatInterval: 200 };
  const node = await startNode({ redis: context.redis, adapterOptions: options });
  defer(t, () => node.close());
  await waitFor(() => /** @type {any} */ (node.io.of("/").adapter).stats().position !== undefined);
  takeWarnings();
  const old = await startAnsweringNode({
    redis: context.redis,
    kind: "upstream-0.2",
    adapterOptions: options,
  });
  defer(t, () => old.kill());
  const skipped = () => /** @type {any} */ (node.io.of("/").adapter).stats().skipped;
  await waitFor(() => skipped() >= 3, { what: "several heartbeats" });
  await settle();
  const warnings = takeWarnings();
  assert.deepEqual(
    warnings.map(({ code }) => code),
    ["ERR_SIO_REDIS_OLD_NODES"],
  );
  assert.match(warnings[0].message, /`requestsVia: "stream"`/);
});

// `readFrom: "replica"` with one address: the stream is read from the master's replicas, whatever
// happens to them.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { STREAM } = require("../cluster/verdict");
const { defer } = require("../faults/defer");
const { takeWarnings } = require("../faults/warnings"); // outages are warned of
const { createAdmin } = require("../helpers/clients");
const { ask } = require("../helpers/redis-server");
const { waitFor } = require("../helpers/wait");
const {
  RATE,
  assertNothingLost,
  calls,
  egress,
  readFrom,
  readers,
  startReading,
} = require("./reading");

const LOAD = "x".repeat(4_000);
const PACKETS = 300;
/** A broadcast of "foreign" to all, as upstream's emitter writes it. */
const OF_UPSTREAM = Object.entries({
  uid: "emitter",
  nsp: "/",
  type: "3",
  data: JSON.stringify({
    opts: { rooms: [], except: [], flags: {} },
    packet: { type: 2, data: ["foreign"], nsp: "/" },
  }),
}).flat();

// Breaks when the reader stays on the master, and when what is found is not used.
test("packets come in order through replicas, and the master sends them to nobody else", async (t) => {
  const { redis, two, traffic, losses } = await startReading(t);
  await readFrom(two, "replica");
  const reads = await calls(redis.master, "xread");
  const sent = await egress(redis.master);
  for (let i = 0; i < PACKETS; i++) {
    traffic.emit(0, LOAD);
    traffic.emit(1, LOAD);
  }
  await traffic.assertComplete();
  const volume = 2 * PACKETS * LOAD.length;
  const more = (await egress(redis.master)) - sent;
  assert.equal(await calls(redis.master, "xread"), reads, "XREAD on the master");
  assert.ok(more < volume / 10, `${more} bytes sent by the master for ${volume} of packets`);
  const byReplicas = await Promise.all(redis.replicas.map(egress));
  assert.ok(byReplicas[0] + byReplicas[1] > 2 * volume, `by the replicas: ${byReplicas}`);
  await two.assertWorks();
  assertNothingLost(losses);
  assert.deepEqual(two.counter("reconnects"), [0, 0], "a move is no outage");
});

for (const [fault, strike] of /** @type {[string, (server: any) => any][]} */ ([
  ["is killed", (server) => server.kill()],
  ["hangs", (server) => server.pause()],
  ["is paused", (server) => ask(server.port, ["CLIENT PAUSE 60000"], /OK/)],
  ["becomes a master", (server) => ask(server.port, ["REPLICAOF NO ONE"], /OK/)],
  ["follows nobody", (server) => ask(server.port, ["REPLICAOF 127.0.0.1 1"], /OK/)],
])) {
  // Breaks when the reader waits for a replica as long as for a master, and when what the replica
  // had sent in part counts.
  test(`a replica ${fault} under traffic: nothing is lost, doubled or out of order`, async (t) => {
    const { redis, two, traffic, losses } = await startReading(t);
    await readFrom(two, "replica");
    traffic.start(RATE);
    await traffic.flows();
    const first = readers(two)[0];
    await strike(redis.at(first));
    await readFrom(two, "replica", { address: first });
    await traffic.flows();
    // The other one as well.
    await strike(redis.at(readers(two)[0]));
    await readFrom(two, "master");
    await traffic.flows();
    traffic.stop();
    await traffic.assertComplete();
    assertNothingLost(losses);
    await two.assertWorks();
  });
}

// Breaks when a replica that has failed once is never read from again.
test("the reader comes back to a replica that works again, and not at once", async (t) => {
  const { redis, two, traffic, losses } = await startReading(t, { replicas: 1 });
  await readFrom(two, "replica");
  traffic.start(RATE);
  await redis.replicas[0].kill();
  await readFrom(two, "master");
  const left = Date.now();
  await redis.replicas[0].restart();
  await readFrom(two, "replica");
  assert.ok(Date.now() - left > 2_000, "a pause before the replica is read from again");
  await traffic.flows();
  traffic.stop();
  await traffic.assertComplete();
  assertNothingLost(losses);
});

// Breaks when the reader stays on a replica that gets nothing any more.
test("a replica that loses its master is left", async (t) => {
  const { redis, two, traffic, losses } = await startReading(t);
  await readFrom(two, "replica");
  traffic.start(RATE);
  redis.links.forEach((link) => link.close());
  await readFrom(two, "master");
  await traffic.flows();
  traffic.stop();
  await traffic.assertComplete();
  assertNothingLost(losses);
});

// Breaks when the reader stays on a replica that is late.
test("a replica that is late is left: own packets reach local clients, and nothing counts as lost", async (t) => {
  const { redis, two, traffic, losses } = await startReading(t);
  await readFrom(two, "replica");
  traffic.start(RATE);
  await traffic.flows();
  redis.links.forEach((link) => link.stall("down"));
  await traffic.flows();
  await readFrom(two, "master");
  assert.ok(await redis.isUp(redis.replicas[0]), "the replicas follow the master all the time");
  redis.links.forEach((link) => link.resume("down"));
  await traffic.flows();
  traffic.stop();
  await traffic.assertComplete();
  assertNothingLost(losses);
});

// Breaks when what the master has trimmed counts as lost, and when the reader leaves the only server
// that still has it.
test("a replica that is late has what the master has trimmed", async (t) => {
  const { redis, two, traffic, losses } = await startReading(t, {
    adapterOptions: { maxLen: 100 },
  });
  await readFrom(two, "replica");
  traffic.start(RATE);
  await traffic.flows();
  redis.links.forEach((link) => link.delay(1_500, "down"));
  const { total } = traffic;
  await waitFor(() => traffic.total > total + 2_000, { what: "much more than the stream keeps" });
  traffic.stop();
  await traffic.assertComplete();
  // On a busy machine, a node may write so slowly that it can leave the replica in time, before the master
  // has trimmed anything.
  assertNothingLost(losses);
  t.diagnostic(`the nodes read from ${two.counter("readFrom").join(" and ")}`);
});

// Breaks when the stream is not checked while a replica is read.
test("a stream that is deleted is one loss", async (t) => {
  const { redis, two, traffic, losses } = await startReading(t);
  await readFrom(two, "replica");
  traffic.emit(0);
  traffic.emit(1);
  await traffic.assertComplete();
  const admin = await createAdmin(redis.master);
  defer(t, () => admin.close());
  redis.links.forEach((link) => link.delay(700, "down"));
  // Written by upstream, so nothing but its place tells that it was read before.
  await admin.command("XADD", STREAM, "*", ...OF_UPSTREAM);
  await Promise.all(two.clients.map((client) => client.receives("foreign")));
  await admin.command("DEL", STREAM);
  await waitFor(() => losses.every((of) => of.length > 0), { what: "the loss" });
  for (let i = 0; i < 20; i++) {
    traffic.emit(0);
    traffic.emit(1);
  }
  await traffic.assertComplete();
  redis.links.forEach((link) => link.delay(0, "down"));
  await readFrom(two, "replica");
  traffic.emit(0);
  await traffic.assertComplete();
  assert.deepEqual(
    two.clients.map((client) => client.received("foreign").length),
    [1, 1],
  );
  assert.deepEqual(
    losses.map((of) => of.map(({ kind, type, reason }) => kind ?? type ?? reason)),
    [["deleted"], ["deleted"]],
  );
});

// Breaks when the reader waits for a connection to a replica.
test("replicas whose addresses lead nowhere do not delay what the master has", async (t) => {
  const { two, traffic } = await startReading(t, { announce: "10.255.255.1" });
  traffic.start(RATE);
  const started = Date.now();
  while (Date.now() - started < 4_000) {
    await traffic.flows();
  }
  traffic.stop();
  await traffic.assertComplete();
  assert.deepEqual(two.counter("readFrom"), ["master", "master"]);
  assert.ok(two.counter("inboxAgeMs").every((age) => age < 1_000));
  assert.deepEqual(two.counter("reconnects"), [0, 0]);
});

// Breaks when the reader stays on a replica that has dropped its data.
test("a replica gets all its data anew under traffic: nothing is lost", async (t) => {
  const { redis, two, traffic, losses } = await startReading(t, { replicas: 1 });
  await ask(redis.master.port, ["CONFIG SET repl-backlog-size 16384"], /OK/);
  await readFrom(two, "replica");
  traffic.start(RATE);
  await traffic.flows();
  const synchronized = /sync_full:(\d+)/;
  const [, before] = await ask(redis.master.port, ["INFO stats"], synchronized);
  const [link] = redis.links;
  link.stall();
  for (let i = 0; i < 50; i++) {
    traffic.emit(0, LOAD);
  }
  await traffic.flows();
  link.cut();
  link.resume();
  await waitFor(
    async () => (await ask(redis.master.port, ["INFO stats"], synchronized))[1] > before,
    { what: "all data to be sent again" },
  );
  await redis.areUp();
  await readFrom(two, "replica");
  await traffic.flows();
  traffic.stop();
  await traffic.assertComplete();
  assertNothingLost(losses);
});

// Breaks when somebody who asks for replicas that there are not hears nothing.
test("without a replica the master is read, with a warning", async (t) => {
  const { two, traffic } = await startReading(t, { replicas: 0 });
  traffic.emit(0);
  await traffic.assertComplete();
  assert.deepEqual(two.counter("readFrom"), ["master", "master"]);
  /** @type {any[]} */
  const warned = [];
  await waitFor(
    () => {
      warned.push(...takeWarnings());
      return warned.some(({ code }) => code === "ERR_SIO_REDIS_NO_REPLICA");
    },
    { timeout: 60_000, what: "the warning" },
  );
});

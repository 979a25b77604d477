// The stream's IDs fall while nodes emit and clients move between them: a clock that steps back with
// the stream gone, a failover to a server whose clock is behind, XSETID. A loss is reported. From the
// fall on there is one order again, no packet comes twice, and a client that comes back is recovered
// only if it lacks nothing.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { startNodeOn } = require("../helpers/node");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { settle, waitFor } = require("../helpers/wait");
const { defer } = require("../faults/defer");
const { Traffic } = require("../faults/traffic");
require("../faults/warnings"); // connections that are replaced are warned of

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const STREAM = "socket.io";
const NODES = 3;
/** Of each node (ms). */
const PACE = 5;
const MOVERS = 6;
/** In the future, so that IDs fall when they are made from the clock again. */
const AHEAD = 3_600_000;

/** Makes the IDs fall to the present. @type {Record<string, (now: number) => string[]>} */
const FALLS = {
  DEL: () => ["DEL", STREAM],
  "DEL, and written again with lower IDs at once": (now) => [
    ...["EVAL", "redis.call('DEL', KEYS[1]); redis.call('XADD', KEYS[1], ARGV[1], 'a', 'b')", "1"],
    ...[STREAM, `${now - 1}-1`],
  ],
  "XSETID to a lower ID": (now) => [
    "EVAL",
    "redis.call('XTRIM', KEYS[1], 'MAXLEN', 0); redis.call('XSETID', KEYS[1], ARGV[1])",
    ...["1", STREAM, `${now - 1}-1`],
  ],
};

/** The packets that both have, each in its own order. @param {string[]} all @param {string[]} other */
function common(all, other) {
  const theirs = new Set(other);
  return all.filter((packet) => theirs.has(packet));
}

/** @param {string[]} packets @returns {string[]} those that are there twice */
const doubled = (packets) => packets.filter((packet, i) => packets.indexOf(packet) !== i);

/** A client that leaves and comes back at another node, again and again. */
class Mover {
  /** @param {SocketClient} client @param {Traffic} traffic */
  constructor(client, traffic) {
    this.client = client;
    this.traffic = traffic;
    /** Where a new session has begun in what it received. */
    this.starts = [0];
    this.moves = 0;
  }

  /** @param {string} url */
  async move(url) {
    const { client } = this;
    client.cut();
    await settle(20 + Math.random() * 60);
    // What was missed comes before `connect`.
    const before = this.traffic.received(client).length;
    await client.reconnect(url, 20_000);
    this.moves++;
    if (!client.socket.recovered) {
      this.starts.push(before);
    }
  }
}

describe("when the IDs of the stream fall", { concurrency: 3 }, () => {
  for (const [what, command] of Object.entries(FALLS)) {
    // Breaks when own packets that Redis has acknowledged are delivered before the others that stand in
    // front of them, and when a node restores a session before it has noticed the fall.
    test(`by ${what}`, async (t) => {
      const redis = await startRedis();
      defer(t, () => redis.stop());
      const admin = await createAdmin(redis);
      defer(t, () => admin.close());
      const future = Date.now() + AHEAD;
      await admin.command("XADD", STREAM, `${future}-0`, "a", "b");
      const nodes = await Promise.all(
        Array.from({ length: NODES }, () =>
          startNodeOn(
            { adapterArgument: { host: redis.host, port: redis.port }, close: async () => {} },
            { serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } } },
          ),
        ),
      );
      defer(t, () => Promise.all(nodes.map((node) => node.close())));
      const stats = () => nodes.map(({ io }) => /** @type {any} */ (io.of("/").adapter).stats());
      const stay = await Promise.all(nodes.map(({ url }) => connectClient(url)));
      const traffic = new Traffic(
        nodes.map(({ io }) => io),
        stay,
      );
      const movers = await Promise.all(
        Array.from({ length: MOVERS }, async (_, i) => {
          return new Mover(await connectClient(nodes[i % NODES].url), traffic);
        }),
      );
      defer(t, () =>
        [...stay, ...movers.map(({ client }) => client)].forEach((c) => c.disconnect()),
      );

      traffic.start(PACE);
      defer(t, () => traffic.stop());
      await settle(1_500);
      let moving = true;
      const moves = movers.map(async (mover, i) => {
        while (moving) {
          await mover.move(nodes[(i + mover.moves + 1) % NODES].url);
          await settle(100);
        }
      });
      await settle(500);
      await admin.command(...command(Date.now()));
      const isNoticed = () => stats().every(({ resets }) => resets === 1);
      await waitFor(isNoticed, { timeout: 20_000, what: "each node to notice the fall" });
      await settle(500);
      const marks = [...traffic.counts];
      const recovered = () =>
        movers.reduce((n, { moves, starts }) => n + moves - starts.length + 1, 0);
      const recoveredBefore = recovered();
      await settle(3_000);
      moving = false;
      await Promise.all(moves);
      traffic.stop();
      // The last packets come last.
      const ended = traffic.flows();
      nodes.forEach((_, from) => traffic.emit(from));
      await ended;

      assert.ok(
        stats().every(({ resets }) => resets === 1),
        "each node reports it, once",
      );
      const [first, ...others] = stay.map((client) => traffic.received(client));
      for (const packets of [first, ...others]) {
        assert.deepEqual(doubled(packets), [], "doubled at a client that stays");
      }
      for (const other of others) {
        assert.deepEqual(common(first, other), common(other, first), "one order");
      }
      // From when the fall was noticed on, nobody lacks anything.
      for (const packets of [first, ...others]) {
        marks.forEach((mark, from) => {
          const missing =
            traffic.counts[from] -
            mark -
            packets.filter((packet) => {
              const [emitter, number] = packet.split(":").map(Number);
              return emitter === from && number >= mark;
            }).length;
          assert.equal(missing, 0, `packets of node ${from}`);
        });
      }
      for (const { client, starts } of movers) {
        const packets = traffic.received(client);
        [...starts, packets.length].slice(1).forEach((end, i) => {
          const span = packets.slice(starts[i], end);
          assert.deepEqual(doubled(span), [], "doubled for a client that moves");
          for (let from = 0; from < NODES; from++) {
            const own = span
              .map((packet) => packet.split(":").map(Number))
              .flatMap(([emitter, number]) => (emitter === from ? [number] : []));
            const gaps = own.filter((number, k) => k > 0 && number !== own[k - 1] + 1);
            // What the stream has lost, everybody has lost.
            const lost = gaps.filter((number) => {
              const before = own[own.indexOf(number) - 1];
              return Array.from(
                { length: Math.max(0, number - before - 1) },
                (_, n) => before + 1 + n,
              ).some((missing) =>
                stay.every((other) => traffic.received(other).includes(`${from}:${missing}`)),
              );
            });
            assert.deepEqual(lost, [], `lost for a client that moves, of node ${from}`);
          }
        });
      }
      const after = recovered() - recoveredBefore;
      t.diagnostic(
        `${traffic.total} packets, ${recoveredBefore} recovered, ${after} after the fall`,
      );
      assert.ok(after >= MOVERS, `${after} recovered after the fall`);
      await waitFor(() => stats().every(({ queueLength }) => queueLength === 0));
    });
  }
});

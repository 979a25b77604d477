// Many clients come back at once, to more packets than a node has in memory.

"use strict";

const assert = require("node:assert/strict");
const { beforeEach, test } = require("node:test");
const { startCluster, useRedis } = require("../helpers/cluster");
const { clientWithOffset, cut, packetsOf } = require("../helpers/recovery");
const { waitFor } = require("../helpers/wait");

const context = useRedis();

beforeEach(() => context.admin.command("FLUSHALL"));

/** How many XRANGE Redis has executed. */
async function ranges() {
  const stats = await context.admin.command("INFO", "commandstats");
  return Number(/cmdstat_xrange:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}

/**
 * @param {{ clients: number, packets: number, bytes: number, room?: (client: any) => string }} options
 *   without a room, everyone gets each packet
 */
async function comeBack({ clients: count, packets, bytes, room }) {
  const cluster = await startCluster(context, {
    nodes: 2,
    adapterOptions: { historyBytes: 10_000, inboxBytes: 4_000_000, maxLen: 100_000 },
    serverOptions: { connectionStateRecovery: {} },
  });
  try {
    const clients = [];
    for (let i = 0; i < count; i++) {
      clients.push(await clientWithOffset(cluster, 0));
    }
    await Promise.all(clients.map((client) => cut(cluster, client)));
    const io = cluster.io(0);
    const filling = "x".repeat(bytes);
    for (let n = 0; n < packets; n++) {
      (room === undefined ? io : io.to(room(clients[n % count]))).emit("n", n, filling);
    }
    // The other node has read everything, too.
    const { adapter } = /** @type {any} */ (cluster.io(1).of("/"));
    await waitFor(() => adapter.stats().read >= packets, { what: "the packets", timeout: 20_000 });
    await waitFor(() => adapter.stats().inboxLength === 0, { what: "the packets to be handled" });
    const begin = clients.map((client) => client.record.length);
    const before = await ranges();
    await Promise.all(clients.map((client) => cluster.reconnect(client, 1)));
    const asked = (await ranges()) - before;
    clients.forEach((client) => assert.equal(client.socket.recovered, true));
    io.emit("last");
    await Promise.all(clients.map((client) => client.receives("last")));
    const missed = clients.map((client, i) =>
      packetsOf(client)
        .slice(begin[i])
        .filter(([name]) => name === "n")
        .map(([, n]) => n),
    );
    return { missed, asked };
  } finally {
    await cluster.close();
  }
}

// Breaks when each restore reads pages of its own.
test("what all have missed is read once, and each gets it once and in order", async () => {
  const [CLIENTS, PACKETS] = [30, 3_000];
  const { missed, asked } = await comeBack({ clients: CLIENTS, packets: PACKETS, bytes: 500 });
  const all = Array.from({ length: PACKETS }, (_, n) => n);
  missed.forEach((one) => assert.deepEqual(one, all));
  // Each of them looks twice whether its offset is there; a page has 500 entries at the most.
  const pages = asked - 2 * CLIENTS;
  assert.ok(pages >= PACKETS / 500 && pages < (CLIENTS * PACKETS) / 500 / 3, `${pages} pages`);
});

// Breaks when those who wait for memory wait for each other.
test("far more than the bound, and for each client something else", async () => {
  const [CLIENTS, PACKETS] = [20, 1_000];
  const { missed } = await comeBack({
    clients: CLIENTS,
    packets: PACKETS,
    bytes: 20_000,
    room: (client) => client.id,
  });
  missed.forEach((one, i) =>
    assert.deepEqual(
      one,
      Array.from({ length: PACKETS / CLIENTS }, (_, n) => n * CLIENTS + i),
    ),
  );
});

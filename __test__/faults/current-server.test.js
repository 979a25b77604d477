// Another server takes over behind the address that the nodes know, and the old one lives on with the
// connections that it has: all of them follow, whichever is the first to notice.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { startNodeOn } = require("../helpers/node");
const { ask } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { settle, waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const { startOneAddress } = require("./one-address");
const { OPTIONS, startTwo } = require("./two-nodes");
require("./warnings"); // outages are warned of

/** @typedef {import("./one-address").OneAddress} OneAddress */
/** @typedef {import("./two-nodes").Two} Two */

/** What becomes of the old server. @type {Record<string, (address: OneAddress) => Promise<unknown>>} */
const WAYS = {
  "becomes a replica of the new one": (address) => address.demote(),
  // It does not get what is written from now on.
  "becomes a replica that lags behind": (address) => address.demote(1),
  // A partition: the old server does not hear that it was replaced.
  "stays a master, and one connection of each node ends": async (address) => {
    assert.equal(await address.endReaders(), 2);
  },
};

/**
 * Two nodes on the old server, with what they lose.
 *
 * @param {import("node:test").TestContext} t
 */
async function start(t) {
  const address = await startOneAddress(t);
  const two = await startTwo(t, address.settings);
  /** @type {object[]} */
  const losses = [];
  two.adapters.forEach((adapter) =>
    adapter.on("loss", (/** @type {object} */ loss) => losses.push(loss)),
  );
  await two.areWhole();
  await two.assertPackets();
  await address.isInSync();
  return { address, two, losses };
}

/**
 * Asserts that each node, also one that was started afterwards, sees the sockets of all.
 *
 * @param {import("node:test").TestContext} t
 * @param {OneAddress} address
 * @param {Two} two
 */
async function assertOneCluster(t, { settings }, two) {
  const late = await startNodeOn(
    { adapterArgument: settings, close: async () => {} },
    { adapterOptions: OPTIONS },
  );
  defer(t, () => late.close());
  const client = await connectClient(late.url);
  defer(t, () => client.disconnect());
  const ios = [...two.ios, late.io];
  /** @type {number[]} */
  let counts = [];
  const count = async () => {
    const adapters = ios.map((io) => /** @type {any} */ (io.of("/").adapter));
    counts = await Promise.all(adapters.map((adapter) => adapter.serverCount()));
    return counts.every((servers) => servers === ios.length);
  };
  await waitFor(count, { interval: 20, what: () => `three servers to be counted, not ${counts}` });
  const sockets = await Promise.all(ios.map((io) => io.fetchSockets()));
  assert.deepEqual(
    sockets.map(({ length }) => length),
    [3, 3, 3],
    "fetchSockets",
  );
  client.disconnect();
  await late.close();
}

describe("another server takes over behind one address, and the old one", () => {
  for (const [what, treatOld] of Object.entries(WAYS)) {
    // Breaks when each task looks for its server by itself, and keeps it as long as the connection
    // stands: publishes then stay at the old server, and sessions are looked for there.
    test(`${what}: all connections follow`, async (t) => {
      const { address, two, losses } = await start(t);
      await address.takeOver();
      await treatOld(address);
      await address.isLeft();
      await assertOneCluster(t, address, two);
      await two.assertWorks();
      assert.deepEqual(losses, []);
      assert.deepEqual(two.counter("doubtful"), [0, 0], "doubtful");
    });

    // Breaks when the position of the reader, which has moved, is compared with the stream of the
    // old server, where the writer, which has nothing to write, would stay.
    test(`${what}: no packet is doubled while only others write`, async (t) => {
      const { address, two, losses } = await start(t);
      const admin = await createAdmin(address.next);
      defer(t, () => admin.close());
      await address.takeOver();
      await treatOld(address);
      const PACKETS = 100;
      const fields = ["uid", "emitter", "nsp", "/", "type", "3"];
      for (let i = 0; i < PACKETS; i++) {
        const packet = { type: 2, data: ["of others", i], nsp: "/" };
        const data = JSON.stringify({ opts: { rooms: [], except: [] }, packet });
        await admin.command("XADD", "socket.io", "*", ...fields, "data", data);
        await settle(25); // the writers look at the stream once a second
      }
      const expected = Array.from({ length: PACKETS }, (_, i) => i);
      for (const client of two.clients) {
        const received = await client.receives("of others", PACKETS);
        assert.deepEqual(
          received.map(([i]) => i),
          expected,
        );
      }
      assert.deepEqual(losses, []);
      assert.deepEqual(two.counter("resets"), [0, 0], "resets");
    });
  }

  // Breaks when what was on its way is taken for written because the old server is asked about it,
  // and when a task stays there.
  test("hands over (FAILOVER) while the nodes emit: each packet arrives once", async (t) => {
    const { address, two, losses } = await start(t);
    two.traffic.start(2);
    defer(t, () => two.traffic.stop());
    await two.traffic.flows();
    await ask(address.old.port, ["FAILOVER"], /\+OK/);
    const role = () => ask(address.next.port, ["ROLE"], /^\*\d\r\n\$6\r\nmaster/).catch(() => null);
    await waitFor(role, { what: "the replica to be the master" });
    address.lead();
    await address.isLeft();
    await two.traffic.flows();
    two.traffic.stop();
    await two.traffic.assertComplete();
    await assertOneCluster(t, address, two);
    await two.assertWorks();
    assert.deepEqual(losses, []);
  });
});

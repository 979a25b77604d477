// A node that is far from Redis reports what it has lost while packets come in all the time: its
// position has always moved when Redis replies to the check. The losses are counted by what the client
// of the node lacks.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { startNodeOn } = require("../helpers/node");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { settle, waitFor } = require("../helpers/wait");
const { defer } = require("../faults/defer");
require("../faults/warnings"); // connections that a loss replaces are warned of

/** @typedef {import("../../index").Loss} Loss */

const STREAM = "socket.io";
const EVENT = "packet";
/** One way (ms). */
const DELAY = 150;
/** Between two packets (ms). */
const PACE = 5;
/** Between two losses (ms): more than the check takes that notices them. */
const APART = 2_000;
const LOSSES = 5;

/** @param {number} number @param {number} bytes */
const data = (number, bytes) =>
  JSON.stringify({
    opts: { rooms: [], except: [], flags: {} },
    packet: { type: 2, nsp: "/", data: [EVENT, number, "x".repeat(bytes)] },
  });

/**
 * A far node with a client, and packets that come in all the time.
 *
 * @param {import("node:test").TestContext} t
 */
async function start(t) {
  const redis = await startRedis();
  defer(t, () => redis.stop());
  const admin = await createAdmin(redis);
  defer(t, () => admin.close());
  const proxy = await startProxy(redis.port);
  defer(t, () => proxy.close());
  const [far, near] = await Promise.all(
    [proxy.port, redis.port].map((port) =>
      startNodeOn({ adapterArgument: { host: redis.host, port }, close: async () => {} }, {}),
    ),
  );
  defer(t, () => Promise.all([far.close(), near.close()]));
  /** @type {Loss[]} */
  const losses = [];
  const adapter = /** @type {any} */ (far.io.of("/").adapter);
  adapter.on("loss", (/** @type {Loss} */ loss) => losses.push(loss));
  const client = await connectClient(far.url);
  defer(t, () => client.disconnect());
  near.io.emit("ready");
  await client.receives("ready");
  proxy.delay(DELAY);
  return { admin, near, client, losses, adapter };
}

/**
 * Lets packets come in, and takes some away from time to time.
 *
 * @param {Awaited<ReturnType<typeof start>>} of
 * @param {(number: number) => unknown} add
 * @param {string[]} command that takes the packets away
 * @returns {Promise<{ sent: number, missing: number }>}
 */
async function run({ admin, client }, add, command) {
  let sent = 0;
  const timer = setInterval(() => void add(sent++), PACE);
  for (let i = 0; i < LOSSES; i++) {
    await settle(APART);
    await admin.command(...command);
  }
  await settle(APART);
  clearInterval(timer);
  const last = () => client.received(EVENT).at(-1)?.[0];
  await waitFor(() => last() === sent - 1, { what: "the last packet" });
  const numbers = client.received(EVENT).map(([number]) => number);
  assert.deepEqual(
    numbers,
    [...new Set(numbers)].sort((a, b) => a - b),
  );
  return { sent, missing: sent - numbers.length };
}

const sum = (/** @type {Loss[]} */ losses) =>
  losses.reduce((total, { entries }) => total + Number(entries ?? 0), 0);

describe("300 ms away from Redis, with a packet every 5 ms:", { concurrency: 4 }, () => {
  for (const writer of ["an upstream node", "a node of this package"]) {
    /** @param {Awaited<ReturnType<typeof start>>} of @returns {(number: number) => unknown} */
    const adding = ({ admin, near }) =>
      writer === "an upstream node"
        ? (number) =>
            admin.command(
              ...["XADD", STREAM, "*", "uid", "feedfeedfeedfeed", "nsp", "/", "type", "3"],
              ...["data", data(number, 0)],
            )
        : (number) => near.io.emit(EVENT, number);

    // Breaks when the numbers are compared only if nothing came in meanwhile, and when what sequences
    // have told is told again.
    test(`what XTRIM takes away from ${writer} is reported with its number`, async (t) => {
      const context = await start(t);
      const { sent, missing } = await run(context, adding(context), [
        "XTRIM",
        STREAM,
        "MAXLEN",
        "0",
      ]);
      const { losses, adapter } = context;
      t.diagnostic(`${missing} of ${sent} are missing`);
      assert.ok(missing > 0);
      await waitFor(() => sum(losses) >= missing, { what: () => JSON.stringify(losses) });
      await settle(APART);
      assert.deepEqual([sum(losses), adapter.stats().lost], [missing, missing]);
      assert.ok(losses.every(({ reason }) => reason === "trimmed"));
    });

    // Breaks when the deletion shows only if nothing came in meanwhile.
    test(`each DEL of what ${writer} writes is reported`, async (t) => {
      const context = await start(t);
      const { sent, missing } = await run(context, adding(context), ["DEL", STREAM]);
      const deletions = () => context.losses.filter(({ reason }) => reason === "deleted").length;
      t.diagnostic(`${missing} of ${sent} are missing; ${JSON.stringify(context.losses)}`);
      await waitFor(() => deletions() >= LOSSES, { what: () => JSON.stringify(context.losses) });
      await settle(APART);
      assert.equal(deletions(), LOSSES);
      if (writer === "a node of this package") {
        assert.equal(sum(context.losses), missing, "their sequences tell how many");
      }
    });
  }
});

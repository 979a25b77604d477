// A burst of packets whose handling takes long leaves the event loop to others in between: slices are
// bounded by time, not only by number.
//
// Breaks when the number of events in a slice does not follow how long the last one took.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { Server } = require("socket.io");
const { createAdapter } = require("../..");
const { defer } = require("../faults/defer");
const { startRedis } = require("../helpers/redis-server");
const { waitFor } = require("../helpers/wait");
const { SyncRedis } = require("./sync-redis");

const PACKETS = 64;
/** How long a client takes with each packet, ms. */
const WORK = 5;
/** The most packets in a slice, once it is known how long they take. */
const MOST = 3;
/** The size of the first slice. */
const FIRST = 16;

test("packets that take long are handled a few at a time", async (t) => {
  const redis = await startRedis();
  defer(t, () => redis.stop());
  const connection = new SyncRedis(redis);
  defer(t, () => connection.close());
  const io = new Server({ adapter: /** @type {any} */ (createAdapter(redis.url)) });
  const nsp = io.of("/");
  const adapter = /** @type {any} */ (nsp.adapter);
  defer(t, () => adapter.close());
  await waitFor(() => adapter.stats().connected, { what: "the connections" });

  /** How many packets were handled before each turn of the event loop. @type {number[]} */
  const turns = [];
  let handled = 0;
  const work = () => {
    handled++;
    for (const end = performance.now() + WORK; performance.now() < end;);
  };
  const socket = { id: "slow", client: { writeToEngine: work }, notifyOutgoingListeners() {} };
  nsp.sockets.set(socket.id, /** @type {any} */ (socket));
  adapter.addAll(socket.id, new Set(["room"]));

  const data = JSON.stringify({
    opts: { rooms: ["room"], except: [], flags: {} },
    packet: { type: 2, nsp: "/", data: ["e"] },
  });
  const entry = ["uid", "feedfeedfeedfeed", "nsp", "/", "type", "3", "data", data];
  const { read } = adapter.stats();
  connection.transaction(
    Array.from({ length: PACKETS }, () => ["XADD", "socket.io", "*", ...entry]),
  );
  connection.blockUntil(() => adapter.stats().read >= read + PACKETS);
  const turn = () => {
    turns.push(handled);
    if (handled < PACKETS) {
      setImmediate(turn);
    }
  };
  turn();
  await waitFor(() => handled === PACKETS, { what: "all packets" });
  nsp.sockets.delete(socket.id);
  const slices = turns.map((count, i) => count - (turns[i - 1] ?? 0)).filter((count) => count > 0);
  t.diagnostic(`slices of ${slices}`);
  assert.ok(slices[0] <= FIRST, `${slices[0]} at first`);
  assert.ok(Math.max(...slices.slice(1)) <= MOST, `slices of ${slices}`);
});

// A burst does not block the event loop: what waits is handled in slices, between which timers and
// other callbacks get their turn.
//
// Breaks when the inbox is drained at once, when slices of large packets hold as many as slices of
// small ones, or when a slice calls for the next one without setImmediate.

"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");
const { useCluster } = require("../helpers/cluster");
const { waitFor } = require("../helpers/wait");
const { MessageType, encodeBinary } = require("../helpers/wire");
const { SyncRedis } = require("./sync-redis");

const BURST = 100_000;
const ROOM = "burst";
/** No slice holds more than this; a single entry may be larger. */
const SLICE_EVENTS = 1_000;
const SLICE_BYTES = 2_000_000;
/** Of the time that a burst takes as a whole, all but the longest turns take no more than this. */
const SHARE = 1 / 10;
/** So many turns may be longer: other processes, and the garbage of the test itself. */
const OUTLIERS = 5;

/** @param {any[]} data */
const broadcast = (data) => ({
  opts: { rooms: [ROOM], except: [], flags: {} },
  packet: { type: 2, nsp: "/", data },
});
const json = (/** @type {number} */ bytes) => JSON.stringify(broadcast(["e", "x".repeat(bytes)]));

/**
 * @typedef {object} Burst
 * @property {number} entries
 * @property {number} type
 * @property {string} data
 */
/** @type {Record<string, Burst>} */
const BURSTS = {
  "of broadcasts": { entries: BURST, type: MessageType.BROADCAST, data: json(10) },
  "of large broadcasts": { entries: 640, type: MessageType.BROADCAST, data: json(100_000) },
  "of huge broadcasts": { entries: 60, type: MessageType.BROADCAST, data: json(1_000_000) },
  "of broadcasts with binary": {
    entries: BURST / 4,
    type: MessageType.BROADCAST,
    data: encodeBinary(broadcast(["e", new Uint8Array(10)])),
  },
  "of events for handlers": {
    entries: BURST / 4,
    type: MessageType.SERVER_SIDE_EMIT,
    data: JSON.stringify({ packet: ["burst", 1] }),
  },
};

describe("other work gets its turn during a burst of", () => {
  /** @type {SyncRedis} */
  let redis;
  after(() => redis?.close());
  const context = useCluster({
    nodes: 1,
    clientsPerNode: 0,
    adapterOptions: { inboxBytes: 2 ** 30 },
  });
  /** What was handled so far. */
  let handled = 0;

  before(() => {
    redis = new SyncRedis(context.redis);
    const nsp = /** @type {any} */ (context.cluster.io(0).of("/"));
    // Only counts: a client in this process would keep the event loop busy itself.
    const socket = { id: "counter", client: { writeToEngine: () => handled++ } };
    nsp.sockets.set(socket.id, { ...socket, notifyOutgoingListeners() {} });
    nsp.adapter.addAll(socket.id, new Set([ROOM]));
    nsp.on("burst", () => handled++);
  });

  const stats = () => context.cluster.adapter(0).stats();

  for (const [name, { entries, type, data }] of Object.entries(BURSTS)) {
    test(`${name} that all wait`, async (t) => {
      const command = ["XADD", "socket.io", "*", "uid", "feedfeedfeedfeed", "nsp", "/"];
      const size = Math.max(1, Math.floor(1_000_000 / data.length));
      /** @type {string | undefined} the last entry */
      let last;
      for (let i = 0; i < entries; i += size) {
        const count = Math.min(size, entries - i);
        const replies = redis.transaction(
          Array.from({ length: count }, () => [...command, "type", type, "data", data]),
        );
        last = replies.at(-1);
      }
      // By position, not by number: what the start of the cluster has written may still wait, too.
      redis.blockUntil(() => stats().position === last);
      assert.ok(stats().inboxLength >= entries, "all of them wait");

      handled = 0;
      let timers = 0;
      const timer = setInterval(() => timers++, 1);
      /** Per turn of the event loop. @type {{ events: number, ms: number }[]} */
      const turns = [];
      const start = performance.now();
      for (let last = start, before = 0; handled < entries;) {
        await new Promise((resolve) => setImmediate(resolve));
        const now = performance.now();
        turns.push({ events: handled - before, ms: now - last });
        [last, before] = [now, handled];
      }
      const total = performance.now() - start;
      clearInterval(timer);
      await waitFor(() => stats().inboxLength === 0, { what: "the inbox to be empty" });

      const longest = turns.map(({ ms }) => ms).sort((a, b) => b - a);
      t.diagnostic(
        `${entries} in ${total.toFixed()} ms, ${turns.length} turns, ${timers} timers; ` +
          `longest ${longest.slice(0, 5).map((ms) => ms.toFixed(1))} ms`,
      );
      const most = Math.max(...turns.map(({ events }) => events));
      assert.ok(most <= SLICE_EVENTS, `${most} events at once`);
      assert.ok(most * data.length <= SLICE_BYTES, `${most * data.length} bytes at once`);
      assert.ok(timers >= Math.min(5, total / 10), `timers got their turn only ${timers} times`);
      const share = longest[OUTLIERS] / total;
      assert.ok(share <= SHARE, `${share} of the time in one turn`);
    });
  }
});

// A burst of packets whose handling takes long leaves the event loop to others in between: slices are
// bounded by time, not only by number. Small slices share memory, others bring their own; a packet that
// waits for its socket stays what it is.
//
// Breaks when the number of events in a slice does not follow how long the last one took, when packets
// for nobody here count among them, or when memory is written to that a packet is still in.

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

/**
 * A server with one socket in the room `room`, without a connection.
 *
 * @param {import("node:test").TestContext} t
 * @param {(parts: any[], opts: any) => void} write called with each packet for the socket
 */
async function setUp(t, write) {
  const redis = await startRedis();
  defer(t, () => redis.stop());
  const connection = new SyncRedis(redis);
  defer(t, () => connection.close());
  const io = new Server({ adapter: /** @type {any} */ (createAdapter(redis.url)) });
  const nsp = io.of("/");
  const adapter = /** @type {any} */ (nsp.adapter);
  defer(t, () => adapter.close());
  await waitFor(() => adapter.stats().connected, { what: "the connections" });
  const socket = { id: "socket", client: { writeToEngine: write }, notifyOutgoingListeners() {} };
  nsp.sockets.set(socket.id, /** @type {any} */ (socket));
  defer(t, () => void nsp.sockets.delete(socket.id));
  adapter.addAll(socket.id, new Set(["room"]));

  /**
   * Another node emits to these rooms, and the engine reads it while the event loop waits.
   *
   * @param {string[][]} broadcasts the rooms of each
   * @param {string[]} [args] an argument of each
   */
  const receive = (broadcasts, args = []) => {
    const { read } = adapter.stats();
    connection.transaction(
      broadcasts.map((rooms, i) => {
        const opts = { rooms, except: [], flags: {} };
        const data = JSON.stringify({
          opts,
          packet: { type: 2, nsp: "/", data: ["e", i, args[i]] },
        });
        const entry = ["uid", "feedfeedfeedfeed", "nsp", "/", "type", "3", "data", data];
        return ["XADD", "socket.io", "*", ...entry];
      }),
    );
    connection.blockUntil(() => adapter.stats().read >= read + broadcasts.length);
  };
  return { receive };
}

test("packets that take long are handled a few at a time", async (t) => {
  /** How many packets were handled before each turn of the event loop. @type {number[]} */
  const turns = [];
  let handled = 0;
  const { receive } = await setUp(t, () => {
    handled++;
    for (const end = performance.now() + WORK; performance.now() < end;);
  });
  receive(new Array(PACKETS).fill(["room"]));
  const turn = () => {
    turns.push(handled);
    if (handled < PACKETS) {
      setImmediate(turn);
    }
  };
  turn();
  await waitFor(() => handled === PACKETS, { what: "all packets" });
  const slices = turns.map((count, i) => count - (turns[i - 1] ?? 0)).filter((count) => count > 0);
  t.diagnostic(`slices of ${slices}`);
  assert.ok(slices[0] <= FIRST, `${slices[0]} at first`);
  assert.ok(Math.max(...slices.slice(1)) <= MOST, `slices of ${slices}`);
});

test("packets that nobody here gets do not hold up a busy node", async (t) => {
  let handled = 0;
  const { receive } = await setUp(t, () => handled++);
  const nobodys = new Array(2_000).fill(["another room"]);
  receive([["room"], ...nobodys, ["room"], ...nobodys, ["room"]]);
  let turns = 0;
  while (handled < 3) {
    for (const end = performance.now() + WORK; performance.now() < end;);
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(turns++ < 200, `${handled} of 3 packets in 200 turns of the event loop`);
  }
  t.diagnostic(`${turns} turns`);
});

test("a slice of any size comes whole", async (t) => {
  /** @type {string[]} */
  const texts = [];
  const { receive } = await setUp(t, ([text]) => texts.push(text));
  const rooms = Array.from({ length: 3_000 }, (_, i) => `another room ${i}`);
  const sizes = [0, 10, 3_000, 1_000, 0, 1_000, 1_000, 3_000, 0];
  receive(sizes.map((others) => [...rooms.slice(0, others), "room"]));
  await waitFor(() => texts.length === sizes.length, { what: "all packets" });
  assert.deepEqual(
    texts,
    sizes.map((_, i) => `2["e",${i},null]`),
  );
});

test("packets that wait for their socket stay what they are", async (t) => {
  /** @type {{ text: string, frame: Buffer }[]} */
  const written = [];
  const { receive } = await setUp(t, ([text], { wsPreEncodedFrame: [frame] }) => {
    written.push({ text, frame });
  });
  // About the memory that small slices share, and about the lengths at which a frame's header grows.
  const lengths = [1, 100, 110, 2_000, 2_048, 5_000, 8_100, 8_192, 16_300, 16_384, 65_500];
  /** @type {string[]} */
  const args = [];
  const emit = async (/** @type {string[]} */ ...slice) => {
    receive(
      slice.map((_, i) => (i % 2 === 0 ? ["room"] : ["another room", "room", "räume"])),
      slice,
    );
    args.push(...slice);
    await waitFor(() => written.length === args.length, { what: "the packets" });
  };
  for (let round = 0; round < 20; round++) {
    const text = (/** @type {number} */ length) => String(round % 10).repeat(length);
    for (const length of lengths) {
      await emit(text(length));
      await emit(text(100), text(length), `ü${text(10)}`, text(100));
    }
  }
  for (const [i, { text, frame }] of written.entries()) {
    const [, , arg] = JSON.parse(text.slice(1));
    assert.equal(arg, args[i]);
    const length = Buffer.byteLength(text) + 1;
    assert.equal(frame.subarray(-length).toString(), `4${text}`);
    assert.equal(frame.length - length, length < 126 ? 2 : length < 65_536 ? 4 : 10);
  }
});

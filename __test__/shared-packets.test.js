// Clients that come back share the packets that they have missed.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { setImmediate: turn } = require("node:timers/promises");
const v8 = require("node:v8");
const vm = require("node:vm");
const { SharedPackets } = require("../lib/shared-packets");
const { waitFor } = require("./helpers/wait");

v8.setFlagsFromString("--expose-gc");
const collect = vm.runInNewContext("gc");

const IDS = new Float64Array([5, 0, 5, 1, NaN, NaN]);

/** An engine that counts what it makes. */
function engine() {
  /** @type {number[][]} */
  const asked = [];
  const take = (/** @type {number[]} */ places) => {
    asked.push(places);
    return places.map((place) => ({
      kind: /** @type {"packet"} */ ("packet"),
      text: `2["e",${place}]`,
      attachments: [],
    }));
  };
  return { asked, take };
}

/** @param {any} missed */
const framesOf = (missed) => missed.map((/** @type {any} */ { encoded }) => encoded.frames[0]);

// Breaks when each client gets frames of its own.
test("a packet is made once as long as one of its frames waits", async () => {
  const shared = new SharedPackets();
  const { asked, take } = engine();
  const waiting = framesOf(shared.share("/", IDS, take));
  for (let i = 0; i < 3; i++) {
    await turn(); // what a WeakRef has given is kept until the turn ends
    collect();
  }
  const others = framesOf(shared.share("/", IDS, take));
  assert.equal(others[0], waiting[0]);
  assert.equal(others[1], waiting[1]);
  // An ID without exact numbers names no packet.
  assert.notEqual(others[2], waiting[2]);
  assert.deepEqual(asked, [[0, 1, 2], [2]]);
});

test("another namespace, and a stream that was replaced, have packets of their own", () => {
  const shared = new SharedPackets();
  const { asked, take } = engine();
  const held = [shared.share("/", IDS, take), shared.share("/other", IDS, take)];
  shared.clear();
  held.push(shared.share("/", IDS, take));
  assert.deepEqual(asked, [
    [0, 1, 2],
    [0, 1, 2],
    [0, 1, 2],
  ]);
});

// Breaks when something holds on to packets that nobody waits for.
test("a packet that was written is let go", async () => {
  const shared = new SharedPackets();
  const { asked, take } = engine();
  framesOf(shared.share("/", IDS, take));
  for (let i = 0; i < 3; i++) {
    await turn();
    collect();
  }
  framesOf(shared.share("/", IDS, take));
  assert.deepEqual(asked, [
    [0, 1, 2],
    [0, 1, 2],
  ]);
});

/** @type {Record<string, Float64Array>} */
const MISSED = { nothing: new Float64Array(0), packets: IDS };

for (const [what, ids] of Object.entries(MISSED)) {
  // Breaks when the map of a namespace stays behind: dynamic namespaces come without end.
  test(`nothing is kept of namespaces whose clients missed ${what}, and have it by now`, async () => {
    const shared = new SharedPackets();
    const heap = () => {
      collect();
      return process.memoryUsage().heapUsed;
    };
    const before = heap();
    const namespaces = 20_000;
    for (let i = 0; i < namespaces; i++) {
      shared.share(`/${i}`, ids, (places) => engine().take(places));
    }
    // A map takes some 250 bytes.
    const isFreed = () => heap() - before < 100 * namespaces;
    await waitFor(isFreed, { interval: 50, what: "the memory to be freed" });
    assert.deepEqual(
      shared.share("/0", MISSED.nothing, () => []),
      [],
    );
  });
}

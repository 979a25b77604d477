// The checker of the chaos tests must see what is wrong: made-up ledgers.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { Ledger, Tally } = require("./ledger");
const { packetId, packetName, Publishing, Truth } = require("./packets");
const { Returns } = require("./returns");

const EXPECTED = [10, 11, 12, 13, 14, 15];
const NOTHING = { lost: [], doubled: [], disordered: [], unknown: [] };

/** @param {number[]} received @param {boolean} [isOpen] */
function judge(received, isOpen = true) {
  const ledger = new Ledger();
  received.forEach((id) => ledger.add(id));
  ledger.isOpen = isOpen;
  return ledger.judge(EXPECTED);
}

describe("a ledger", () => {
  test("with everything in order is sound", () => {
    assert.deepEqual(judge(EXPECTED), NOTHING);
  });

  test("begins with the first packet", () => {
    assert.deepEqual(judge([12, 13, 14, 15]), NOTHING);
    assert.deepEqual(judge([]), NOTHING);
  });

  test("that is closed ends with the last packet, one that is open with the stream", () => {
    assert.deepEqual(judge([10, 11], false), NOTHING);
    assert.deepEqual(judge([10, 11], true), { ...NOTHING, lost: [12, 13, 14, 15] });
  });

  test("shows what was lost", () => {
    assert.deepEqual(judge([10, 12, 15]), { ...NOTHING, lost: [11, 13, 14] });
    assert.deepEqual(judge([10, 12, 13], false), { ...NOTHING, lost: [11] });
  });

  test("shows what was doubled, each time", () => {
    assert.deepEqual(judge([10, 11, 11, 12, 13, 14, 15, 11]), { ...NOTHING, doubled: [11, 11] });
    assert.deepEqual(judge([10, 11, 12, 10, 11, 12, 13, 14, 15]), {
      ...NOTHING,
      doubled: [10, 11, 12],
    });
  });

  test("shows what was swapped", () => {
    assert.deepEqual(judge([10, 12, 11, 13, 14, 15]), { ...NOTHING, disordered: [11] });
    assert.deepEqual(judge([11, 10, 12, 13, 14, 15]), { ...NOTHING, disordered: [10] });
    assert.deepEqual(judge([13, 14, 15, 10, 11, 12]), { ...NOTHING, disordered: [10, 11, 12] });
  });

  test("shows what was not for this client, or never published", () => {
    assert.deepEqual(judge([10, 99, 11, 12, 13, 14, 15]), { ...NOTHING, unknown: [99] });
  });

  test("may hold once what Redis has refused", () => {
    const wasRefused = (/** @type {number} */ id) => id === 99;
    const ledger = new Ledger();
    [10, 99, 11, 12, 98, 13, 99, 14, 15].forEach((id) => ledger.add(id));
    const judgement = { ...NOTHING, doubled: [99], unknown: [98] };
    assert.deepEqual(ledger.judge(EXPECTED, wasRefused), judgement);
  });

  test("shows all of it together", () => {
    assert.deepEqual(judge([10, 13, 12, 12, 99, 15]), {
      lost: [11, 14],
      doubled: [12],
      disordered: [12],
      unknown: [99],
    });
  });
});

test("a tally adds up, and says who and what", () => {
  const tally = new Tally();
  const ledger = new Ledger();
  [packetId(2, 7), packetId(2, 9)].forEach((id) => ledger.add(id));
  tally.add("client 1", ledger, [packetId(2, 7), packetId(2, 8), packetId(2, 9)]);
  tally.add("client 2", ledger, [packetId(2, 7), packetId(2, 8), packetId(2, 9)]);
  assert.equal(tally.lost, 2);
  assert.equal(tally.faults, 2);
  assert.equal(tally.received, 4);
  assert.deepEqual(tally.samples, [
    "client 1: 1 lost: 2:8 (after 1 packets)",
    "client 2: 1 lost: 2:8 (after 1 packets)",
  ]);
});

test("the truth for a client is what went to all or to its rooms", () => {
  const truth = new Truth();
  truth.packets.push({ id: 1, rooms: [] });
  truth.packets.push({ id: 2, rooms: ["a"] });
  truth.packets.push({ id: 3, rooms: ["b", "c"] });
  assert.deepEqual(truth.for([]), [1]);
  assert.deepEqual(truth.for(["a"]), [1, 2]);
  assert.deepEqual(truth.for(["c", "a"]), [1, 2, 3]);
  assert.equal(packetName(packetId(3, 4_000_000_000)), "3:4000000000");
});

describe("a packet that is not in the stream", () => {
  /** Packets 1 and 3 of a sender are written at 100 and 300; it has emitted 5. */
  const truth = new Truth();
  truth.packets.push({ id: packetId(0, 1), rooms: [], at: 100 });
  truth.packets.push({ id: packetId(0, 3), rooms: [], at: 300 });
  const emitted = new Map([[0, { count: 5, oversized: [2] }]]);

  /** @param {import("./packets").Refusal[]} refusals */
  const missing = (...refusals) => {
    const publishing = new Publishing(truth, emitted, refusals);
    const refused = [0, 2, 4].filter((seq) => publishing.wasRefused(packetId(0, seq)));
    assert.equal(publishing.missing, 3 - refused.length);
    assert.equal(publishing.refused.get(0), refused.length);
    return [0, 2, 4].filter((seq) => !refused.includes(seq));
  };

  test("is missing", () => {
    assert.deepEqual(missing(), [0, 2, 4]);
  });

  test("is not when Redis refused all packets at the time of its turn", () => {
    assert.deepEqual(missing({ from: 10, to: 90, packets: "all" }), [2, 4]);
    assert.deepEqual(missing({ from: 150, to: 250, packets: "all" }), [0, 4]);
    assert.deepEqual(missing({ from: 310, to: 320, packets: "all" }), [0, 2]);
    assert.deepEqual(missing({ from: 200, to: 320, packets: "all" }), [0]);
  });

  test("is not when it was too large at that time", () => {
    assert.deepEqual(missing({ from: 0, to: 1_000, packets: "oversized" }), [0, 4]);
    assert.deepEqual(missing({ from: 310, to: 1_000, packets: "oversized" }), [0, 2, 4]);
  });

  test("is missing for those that were killed, too, unless it was the last", () => {
    const publishing = new Publishing(truth, new Map());
    assert.deepEqual([publishing.missing, publishing.refused.get(0)], [2, 0]);
  });
});

describe("a client that starts anew", () => {
  const START = {
    ...{ who: "client", pid: "session", reason: "no such session", sawSession: false, tries: 1 },
    ...{ connectedFor: 2_000, killedAfter: Infinity, wasInTrouble: false, wasRefused: false },
  };
  /** @param {Partial<import("./returns").FreshStart>} start */
  const isJustified = (start) => {
    const returns = new Returns();
    returns.add({ ...START, ...start });
    return returns.unjustified.length === 0;
  };
  const UNSURE = "the client may hold packets of its last recovery";

  test("has no reason as a rule", () => {
    assert.equal(isJustified({}), false);
    for (const reason of ["the session is damaged", "trimmed", "the offset is no entry ID"]) {
      assert.equal(isJustified({ reason, wasInTrouble: true, wasRefused: true }), false, reason);
    }
  });

  test("may do so if it has no session, or Redis could not be asked", () => {
    assert.equal(isJustified({ pid: undefined }), true);
    assert.equal(isJustified({ wasInTrouble: true }), true);
  });

  test("may do so if its node was killed before it could save the session", () => {
    assert.equal(isJustified({ killedAfter: -20 }), false);
    assert.equal(isJustified({ killedAfter: -20, connectedFor: 20 }), true);
    assert.equal(isJustified({ killedAfter: -20, connectedFor: 20, sawSession: true }), false);
    assert.equal(isJustified({ killedAfter: 5_000, connectedFor: 20 }), false);
  });

  test("may do so if it was cut off while it was recovered, or Redis refused packets", () => {
    assert.equal(isJustified({ reason: UNSURE }), false);
    assert.equal(isJustified({ reason: UNSURE, wasInTrouble: true }), false);
    assert.equal(isJustified({ reason: UNSURE, tries: 2 }), true);
    assert.equal(isJustified({ reason: UNSURE, wasRefused: true }), true);
    assert.equal(isJustified({ wasRefused: true }), false);
  });
});

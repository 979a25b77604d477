// The checker of the chaos tests must see what is wrong: made-up ledgers.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { Ledger, Tally } = require("./ledger");
const { packetId, packetName, Truth } = require("./packets");

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

// What the page takes for lost, doubled and out of order.

"use strict";

const assert = require("node:assert/strict");
const { before, describe, it } = require("node:test");

/** @typedef {import("../../examples/cluster-page/packet-source").NumberedPacket} NumberedPacket */

describe("the page's check of packets", () => {
  /** @type {any} */
  let page;

  before(async () => {
    page = await import("../../examples/cluster-page/public/packet-check.js");
  });

  /**
   * @param {number[]} numbers
   * @param {{ source?: string, since?: number, check?: any }} [options]
   */
  function receive(numbers, { source = "a", since = 0, check = new page.PacketCheck() } = {}) {
    check.begin(1_000);
    for (const number of numbers) {
      check.receive({ source, node: "node-1", since, number, time: 0 });
    }
    const { received, lost, doubled, outOfOrder, isWhole } = check;
    return { received, lost, doubled, outOfOrder, isWhole, check };
  }

  /**
   * @param {ReturnType<typeof receive>} result
   * @param {[number, number, number]} expected
   */
  function assertFaults({ lost, doubled, outOfOrder, isWhole }, expected) {
    assert.deepEqual([lost, doubled, outOfOrder], expected);
    assert.equal(isWhole, String(expected) === "0,0,0");
  }

  it("begins with the first packet of a source that is older than itself", () => {
    assertFaults(receive([500, 501, 502]), [0, 0, 0]);
  });

  it("wants a younger source from its first packet on", () => {
    assertFaults(receive([3, 4], { since: 1_000 }), [2, 0, 0]);
    assertFaults(receive([1, 2], { since: 1_000 }), [0, 0, 0]);
  });

  it("counts what is passed over as lost, until it comes", () => {
    assertFaults(receive([1, 2, 6]), [3, 0, 0]);
    assertFaults(receive([1, 2, 6, 4]), [2, 0, 1]);
    assertFaults(receive([1, 2, 6, 4, 3, 5]), [0, 0, 3]);
  });

  it("counts what came before as doubled", () => {
    assertFaults(receive([1, 2, 2, 3, 1]), [0, 2, 0]);
    assertFaults(receive([1, 3, 2, 2]), [0, 1, 1]);
    assertFaults(receive([7, 6]), [0, 1, 0]);
  });

  it("keeps sources apart", () => {
    const { check } = receive([1, 2]);
    assertFaults(receive([9, 10], { source: "b", check }), [0, 0, 0]);
    assertFaults(receive([3], { check }), [0, 0, 0]);
    assertFaults(receive([12], { source: "b", check }), [1, 0, 0]);
    assert.equal(check.received, 6);
  });

  it("takes quantiles", () => {
    const values = Array.from({ length: 100 }, (_, i) => 100 - i);
    assert.deepEqual(
      [page.quantile(values, 0.5), page.quantile(values, 0.99), page.quantile([], 0.5)],
      [51, 100, null],
    );
    assert.equal(page.quantile([5], 0.99), 5);
  });
});

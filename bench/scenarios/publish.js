"use strict";
// Measures how fast a node publishes and reads its own entries, by the number of packets in flight.

/** @typedef {import("../context").Context} Context */

const BYTES = 100;

/** @param {number} inFlight @param {number} count */
const publish =
  (inFlight, count) =>
  async (/** @type {Context} */ { node }) => {
    await node.ask("publish", { count: Math.ceil(count / 10), inFlight, bytes: BYTES });
    const result = await node.ask("publish", { count, inFlight, bytes: BYTES });
    return {
      "packets per second": result.perSecond,
      "JS thread, µs per packet": result.jsThread,
      "process, µs per packet": result.process,
    };
  };

/** @type {Record<string, import("../context").Scenario>} */
const scenarios = {
  "publish, 1 in flight": { run: publish(1, 20_000) },
  "publish, 100 in flight": { run: publish(100, 150_000) },
  "publish, 1,000 in flight": {
    run: publish(1_000, 150_000),
    ceiling: { metric: "packets per second", measure: ({ ceilings }) => ceilings.xadd(BYTES) },
  },
};

module.exports = { scenarios };

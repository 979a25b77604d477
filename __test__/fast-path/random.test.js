// Byte for byte as from socket.io's in-memory adapter, for random payloads. SEED=… repeats a run.
//
// Breaks when `undefined` in an object beside binary becomes null, as it does in upstream.

"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");
const { inspect } = require("node:util");
const { random, seed } = require("../faults/random");
const { assertSameBytes } = require("./compare");
const { Generator, smaller } = require("./random-payload");
const { Sides, TRANSPORTS } = require("./sides");

const PAYLOADS = 300;
/** Steps towards a smaller payload that still fails. */
const STEPS = 40;

const SEED = seed();
console.log(`random payloads by SEED=${SEED}`);

for (const recovery of [false, true]) {
  describe(recovery ? "with connection state recovery" : "without recovery", () => {
    const sides = new Sides(recovery ? { server: { connectionStateRecovery: {} } } : {});
    before(() => sides.start(["/"]));
    after(() => sides.close());

    /**
     * @param {any[][]} payloads
     * @returns {Promise<(Error | undefined)[]>} what is wrong with each
     */
    async function failures(payloads) {
      const sends = payloads.map((args) => (/** @type {any} */ nsp) => nsp.emit("e", ...args));
      const stock = await sides.run("/", "stock", sends);
      const near = await sides.run("/", "near", sends);
      return payloads.map((_, i) => {
        try {
          assert.equal(String(near.errors[i]), String(stock.errors[i]), "what emit() throws");
          for (const transport of TRANSPORTS) {
            for (const side of ["near", "far"]) {
              assertSameBytes(
                near.received[`${side} ${transport}`][i],
                stock.received[`stock ${transport}`][i],
                { offsets: recovery, what: `${transport} client of ${side}` },
              );
            }
          }
        } catch (error) {
          return /** @type {Error} */ (error);
        }
      });
    }

    test(`${PAYLOADS} payloads`, async () => {
      const generator = new Generator(random(SEED));
      let payloads = Array.from({ length: PAYLOADS }, () => generator.args());
      /** @type {Error | undefined} */
      let failure;
      let failed;
      for (let step = 0; step < STEPS; step++) {
        const found = await failures(payloads);
        const at = found.findIndex(Boolean);
        if (at < 0) {
          break;
        }
        [failure, failed] = [found[at], payloads[at]];
        payloads = smaller(failed);
      }
      if (failure) {
        const payload = inspect(failed, { depth: null, maxStringLength: 500 });
        assert.fail(`SEED=${SEED}, made smaller: ${payload}\n${failure.message}`);
      }
    });
  });
}

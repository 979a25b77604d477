// Byte for byte, a client gets what it would get from socket.io's own in-memory adapter: through
// the stream from another node, on the sender's own node, and what an upstream node sent.
//
// Breaks when toJSON() is not called beside binary, when the engine writes the offset otherwise than
// JSON.stringify would, or when a frame's length is encoded in a longer form than needed.

"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");
const { assertSameBytes } = require("./compare");
const { TEXT, BINARY, THROWING, UPSTREAM_CANNOT } = require("./payloads");
const { Sides, TRANSPORTS } = require("./sides");

const EVENT = "payload";

/** @type {Record<string, import("./sides").SidesOptions>} */
const SETUPS = {
  plain: {},
  "connection state recovery": { server: { connectionStateRecovery: {} } },
  compressed: { server: { perMessageDeflate: { threshold: 0 } }, deflate: true },
};

for (const [setup, options] of Object.entries(SETUPS)) {
  const namespaces = ["/", "/nested/name space"];
  const offsets = setup === "connection state recovery";

  describe(setup, () => {
    const sides = new Sides(options);
    before(() => sides.start(namespaces));
    after(() => sides.close());

    for (const nsp of namespaces) {
      describe(`in ${nsp}`, () => {
        const all = [...TEXT, ...BINARY, ...THROWING];
        const sendable = all.length - THROWING.length;
        const sends = all.map(
          ({ args }) =>
            (/** @type {any} */ namespace) =>
              namespace.emit(EVENT, ...args()),
        );
        /** @type {Record<string, Awaited<ReturnType<Sides["run"]>>>} */
        const runs = {};
        before(async () => {
          runs.stock = await sides.run(nsp, "stock", sends);
          runs.near = await sides.run(nsp, "near", sends);
          // What throws ends there as an unhandled rejection.
          runs.upstream = await sides.run(nsp, "upstream", sends.slice(0, sendable));
        });

        all.forEach(({ name }, i) => {
          for (const side of ["near", "far"]) {
            test(`${name}, ${side === "near" ? "on the sender's node" : "from another node"}`, () => {
              const [error, expected] = [runs.near.errors[i], runs.stock.errors[i]];
              assert.equal(String(error), String(expected), "what emit() throws");
              for (const transport of TRANSPORTS) {
                assertSameBytes(
                  runs.near.received[`${side} ${transport}`][i],
                  runs.stock.received[`stock ${transport}`][i],
                  { offsets, what: transport },
                );
              }
            });
          }
          const skip = i < sendable ? UPSTREAM_CANNOT[name] : "it throws";
          test(`${name}, from an upstream node`, { skip }, () => {
            for (const transport of TRANSPORTS) {
              assertSameBytes(
                runs.upstream.received[`far ${transport}`][i],
                runs.stock.received[`stock ${transport}`][i],
                { offsets, what: transport },
              );
            }
          });
        });
      });
    }
  });
}

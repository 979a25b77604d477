// What has to work in every runtime where no Redis can be had: on the machines that build the engine
// for Windows there is none.

"use strict";

const assert = require("node:assert/strict");
const { waitFor } = require("../helpers/wait");

/**
 * @typedef {object} Check
 * @property {string} name
 * @property {(node: import("./node").RuntimeNode) => Promise<void>} run for a node whose Redis is an
 *   address where nobody listens
 */

/** @type {Check[]} */
const CHECKS_ALONE = [
  {
    name: "warns of a Redis that is away, by its code",
    async run(node) {
      await waitFor(() => node.warnings.length > 0, { what: "a warning" });
      const [{ name, code, message }, ...others] = node.warnings;
      assert.deepEqual([name, code], ["SocketIORedisWarning", "ERR_SIO_REDIS_CONNECTION"]);
      assert.match(message, /127\.0\.0\.1/);
      assert.deepEqual(others, []);
      // Operators see it without doing anything for it.
      await waitFor(() => node.errors.includes(message), { what: "the warning on stderr" });
    },
  },
  {
    name: "refuses what it cannot take, by stable codes",
    async run(node) {
      for (const [args, code] of /** @type {[any[], string][]} */ ([
        [[42], "ERR_SIO_REDIS_CLIENT"],
        [["redis://127.0.0.1", { maxLen: "many" }], "ERR_SIO_REDIS_OPTION"],
        [[{ host: "127.0.0.1", port: "none" }], "ERR_SIO_REDIS_SETTING"],
      ])) {
        const { isError, ...refusal } = await node.call("refusal", ...args);
        assert.equal(refusal.code, code);
        assert.equal(isError, true);
      }
    },
  },
  {
    name: "stats() while Redis is away",
    async run(node) {
      const { queueLength, read, position } = await node.call("stats");
      assert.deepEqual({ read, position }, { read: 0, position: undefined });
      assert.equal(typeof queueLength, "number");
    },
  },
];

module.exports = { CHECKS_ALONE };

// An encoder, or an `Adapter.prototype.broadcast`, that was replaced before the adapter was loaded gets the
// packets, as with the adapter in memory.
//
// Breaks when what is there at the beginning is taken for socket.io's own.

"use strict";

const assert = require("node:assert/strict");
const { fork } = require("node:child_process");
const { once } = require("node:events");
const { join } = require("node:path");
const { describe, test } = require("node:test");
const { useRedis } = require("../helpers/cluster");
const { guard } = require("../helpers/guard");

const context = useRedis();
const PROGRAM = join(__dirname, "patched-process.js");

/** @param {string} kind of adapter @param {string} patch */
async function outcome(kind, patch) {
  const child = fork(PROGRAM, [context.redis.url, kind, patch], { execArgv: ["--no-warnings"] });
  const release = guard(child);
  try {
    const ended = once(child, "exit").then(() => Promise.reject(new Error("it has ended")));
    ended.catch(() => {});
    const [report] = await Promise.race([once(child, "message"), ended]);
    return report;
  } finally {
    child.kill("SIGKILL");
    release();
  }
}

describe("replaced before the adapter was loaded:", () => {
  for (const patch of [
    "encode(), to sign",
    "encode(), to measure",
    "encode(), anew",
    "encodeAsString(), for one event",
    "broadcast()",
  ]) {
    test(patch, async () => {
      const { isFast, ...ours } = await outcome("native", patch);
      const { isFast: _, ...theirs } = await outcome("memory", patch);
      assert.deepEqual(ours, theirs);
      assert.equal(isFast, false);
    });
  }

  test("nothing: the engine's packets go to the clients as they are", async () => {
    const { isFast, got } = await outcome("native", "nothing");
    assert.equal(isFast, true);
    assert.equal(got[1].length, 2);
  });
});

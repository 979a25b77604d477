// `publishQueueBytes` bounds what waiting publishes take in all: the engine's memory, and the packets,
// callbacks and promises that the JS side keeps of each until it completes. Compares the memory of a
// process whose queue is full with the bound.
//
// Breaks when only the bytes of the packets count.

"use strict";

const assert = require("node:assert/strict");
const { fork } = require("node:child_process");
const { once } = require("node:events");
const { join } = require("node:path");
const { describe, test } = require("node:test");
const { guard } = require("../helpers/guard");
const { startRedis } = require("../helpers/redis-server");

const BOUND = 64 * 1024 * 1024;
/** The memory of a process swings with its garbage collector. */
const MOST = 2;

describe("a full queue takes about what its option allows:", () => {
  for (const what of ["broadcasts", "objects", "binary", "joins", "texts", "emitter"]) {
    test(what, async (t) => {
      const redis = await startRedis();
      t.after(() => redis.stop());
      const child = fork(join(__dirname, "queue-memory-process.js"), [redis.url, what], {
        execArgv: ["--expose-gc", "--no-warnings"],
      });
      const release = guard(child);
      t.after(async () => {
        child.kill("SIGKILL");
        release();
      });
      const ended = once(child, "exit").then(() => Promise.reject(new Error("it has ended")));
      ended.catch(() => {});
      await Promise.race([once(child, "message"), ended]);
      redis.pause();
      t.after(() => redis.resume());
      child.send("go");
      const [report] = await Promise.race([once(child, "message"), ended]);
      const { bytes, counted, publishes } = report;
      t.diagnostic(`${publishes} publishes, ${(bytes / BOUND).toFixed(2)} of the bound`);
      assert.ok(counted <= BOUND && counted > BOUND * 0.9, `${counted} bytes were counted`);
      assert.ok(bytes <= BOUND * MOST, `${bytes} bytes with a bound of ${BOUND}`);
    });
  }
});

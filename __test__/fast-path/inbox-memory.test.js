// `inboxBytes` bounds what was read and waits, also when the entries of one page are large: a page is
// handed on in parts while it arrives, and reading pauses between two parts.
//
// Breaks when a page is received whole before its first entry is handed on.

"use strict";

const assert = require("node:assert/strict");
const { fork } = require("node:child_process");
const { once } = require("node:events");
const { join } = require("node:path");
const { describe, test } = require("node:test");
const { defer } = require("../faults/defer");
const { guard } = require("../helpers/guard");
const { startRedis } = require("../helpers/redis-server");
const { SyncRedis } = require("./sync-redis");

const BOUND = 64 * 1024 * 1024;
const PACKETS = 40;
const BYTES = 5_000_000;
/** Beside the inbox: the part that arrives, and the copies that JS and its garbage collector hold. */
const MOST = 3;

describe("40 packets of 5 MB at once take a few times `inboxBytes`", () => {
  for (const isMember of [true, false]) {
    test(isMember ? "for a client here" : "for nobody here", async (t) => {
      const redis = await startRedis();
      defer(t, () => redis.stop());
      const connection = new SyncRedis(redis);
      defer(t, () => connection.close());
      const child = fork(
        join(__dirname, "inbox-memory-process.js"),
        [redis.url, String(PACKETS), String(isMember)],
        { execArgv: ["--no-warnings", "--expose-gc"] },
      );
      const release = guard(child);
      defer(t, () => {
        child.kill("SIGKILL");
        release();
      });
      const ended = once(child, "exit").then(() => Promise.reject(new Error("it has ended")));
      ended.catch(() => {});
      await Promise.race([once(child, "message"), ended]);

      const data = JSON.stringify({
        opts: { rooms: ["large"], except: [], flags: {} },
        packet: { type: 2, nsp: "/", data: ["e", "x".repeat(BYTES)] },
      });
      const fields = ["uid", "feedfeedfeedfeed", "nsp", "/", "type", "3", "data", data];
      // All at once, so that they are in one page.
      connection.transaction(
        Array.from({ length: PACKETS }, () => ["XADD", "socket.io", "*", ...fields]),
      );
      const [{ bytes, received }] = await Promise.race([once(child, "message"), ended]);
      t.diagnostic(`${(bytes / BOUND).toFixed(2)} of the bound`);
      assert.equal(received, isMember ? PACKETS : 0);
      assert.ok(bytes <= BOUND * MOST, `${bytes} bytes with a bound of ${BOUND}`);
    });
  }
});

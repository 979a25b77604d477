// `inboxBytes` and `historyBytes` count what is taken: rooms, indexes and bookkeeping included. What
// they count is compared with what the process has got from the system.
//
// Breaks when rooms, the history's index of rooms, or the bytes of a packet are not counted.

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

const AT_ONCE = 500;
const TOLERANCE = 0.1;

/**
 * Enough packets to take 300 MB and more. What else the process takes and gives back meanwhile, above
 * all for replies with up to 500 entries, came to 16 MB.
 *
 * @type {Record<string, { rooms: number, bytes: number, packets: number }[]>}
 */
const SHAPES = {
  inbox: [
    { rooms: 1_000, bytes: 20, packets: 25_000 },
    { rooms: 5, bytes: 3_000, packets: 80_000 },
  ],
  history: [
    { rooms: 1_000, bytes: 20, packets: 10_000 },
    { rooms: 5, bytes: 3_000, packets: 80_000 },
  ],
};

for (const [where, shapes] of Object.entries(SHAPES)) {
  describe(`the ${where} counts within a tenth what it takes`, () => {
    for (const { rooms, bytes, packets } of shapes) {
      test(`packets of ${bytes} bytes to ${rooms} rooms`, async (t) => {
        const redis = await startRedis();
        defer(t, () => redis.stop());
        const connection = new SyncRedis(redis);
        defer(t, () => connection.close());
        const child = fork(
          join(__dirname, "counted-memory-process.js"),
          [redis.url, String(packets), where],
          { execArgv: ["--no-warnings"] },
        );
        const release = guard(child);
        defer(t, () => {
          child.kill("SIGKILL");
          release();
        });
        const ended = once(child, "exit").then(() => Promise.reject(new Error("it has ended")));
        ended.catch(() => {});
        const message = async () => (await Promise.race([once(child, "message"), ended]))[0];

        const add = (/** @type {number} */ count) => {
          for (let i = 0; i < count; i += AT_ONCE) {
            connection.transaction(Array.from({ length: AT_ONCE }, () => broadcast(rooms, bytes)));
          }
        };
        await message();
        add(packets / 10);
        await message();
        add(packets);
        const { counted, taken } = await message();
        t.diagnostic(`${(counted / 1e6).toFixed()} MB counted, ${(taken / 1e6).toFixed()} taken`);
        assert.ok(Math.abs(counted / taken - 1) <= TOLERANCE, `${counted} counted, ${taken} taken`);
      });
    }
  });
}

/** @param {number} rooms @param {number} bytes @returns {string[]} */
function broadcast(rooms, bytes) {
  const names = Array.from({ length: rooms }, (_, i) => `room ${i}`);
  const data = JSON.stringify({
    opts: { rooms: names, except: [], flags: {} },
    packet: { type: 2, nsp: "/", data: ["e", "x".repeat(bytes)] },
  });
  return ["XADD", "socket.io", "*", "uid", "feed", "nsp", "/", "type", "3", "data", data];
}

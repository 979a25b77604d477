// A node that keeps packets, in its inbox or in its history, and reports what it counts for them and
// what the process takes. Started by counted-memory.test.js with the URL of a Redis, the number of
// packets, and where they stay.

"use strict";

const { Server } = require("socket.io");
const { createAdapter } = require("../..");
const { waitFor } = require("../helpers/wait");

const POLL = 50;
const LONGEST = 60_000;

/** Blocks the event loop until the condition is true. @param {() => boolean} condition */
function block(condition) {
  const never = new Int32Array(new SharedArrayBuffer(4));
  for (let waited = 0; !condition() && waited < LONGEST; waited += POLL) {
    Atomics.wait(never, 0, 0, POLL);
  }
}

async function main() {
  const [url, count, where] = process.argv.slice(2);
  const isHistory = where === "history";
  const large = 1_000_000_000;
  const bounds = isHistory ? { historyBytes: large } : { inboxBytes: large };
  const io = new Server({
    adapter: /** @type {any} */ (createAdapter(url, bounds)),
    ...(isHistory && { connectionStateRecovery: {} }),
  });
  const adapter = /** @type {any} */ (io.of("/").adapter);
  const send = (/** @type {unknown} */ message) =>
    /** @type {NonNullable<typeof process.send>} */ (process.send)(message);
  const counted = () => adapter.stats().inboxBytes + adapter.stats().historyBytes;
  const taken = () => process.memoryUsage.rss();
  const isRead = (/** @type {number} */ packets) => adapter.stats().read >= packets;

  if (!isHistory) {
    adapter.addAll("member", new Set(["room 0"]));
  }
  await waitFor(() => adapter.stats().connected, { what: "the connections" });
  // The first packets make the buffers that every node has.
  send("ready");
  await waitFor(() => isRead(Number(count) / 10), { what: "the first packets", timeout: LONGEST });
  await waitFor(() => adapter.stats().inboxLength === 0, { what: "an empty inbox" });
  const before = { counted: counted(), taken: taken() };
  send("ready");
  block(() => isRead((Number(count) * 11) / 10));
  send({ counted: counted() - before.counted, taken: taken() - before.taken });
  process.exit();
}

void main();

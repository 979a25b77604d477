// serverCount() while requests of several callers are open: without a server, by counts that come when the
// test says so.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { Requests } = require("../lib/requests");

/** @param {string[]} known the uids of the other nodes */
const count = (...known) => ({ known, others: 0, present: [] });

// Socket.IO asks for the number of servers right after an emit with acknowledgements, and waits for
// those of as many. Breaks when the count of another request, which comes in the same slice, is taken.
test("the number of servers is that of the count that was asked for", async () => {
  /** @type {((taken: any) => void)[]} */
  const counts = [];
  const countSubscribers = () => new Promise((resolve) => counts.push(resolve));
  const engine = { countSubscribers, requestAndCount: countSubscribers };
  const adapter = { uid: "0123456789abcdef", nsp: { name: "/" } };
  const requests = new Requests(adapter, /** @type {any} */ (engine), "pubsub");
  const first = requests.serverCount();
  // A request of somebody else is counted by itself.
  requests.send(new Uint8Array(), true);
  const second = requests.serverCount();
  counts[0](count("a"));
  counts[1](count("a", "b"));
  assert.deepEqual([await first, await second], [2, 3]);
});

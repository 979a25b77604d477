// Who gets a broadcast, and who does not, without waiting for a guessed time.

"use strict";

const assert = require("node:assert/strict");

const MARKER = "delivery:marker";

let markers = 0;

/**
 * Who sends: a node, by its index, or an emitter.
 *
 * @typedef {number | { of: (nsp: string) => { emit: (event: string) => unknown } }} Sender
 */

/**
 * Runs `send`, then broadcasts a marker from the same sender. A stream keeps the order, so when all
 * clients have the marker, what `send` sent has arrived as well or never will.
 *
 * @param {import("./cluster").Cluster} cluster
 * @param {Sender} sender
 * @param {() => unknown} send
 * @param {{ clients?: import("./socket-client").SocketClient[] }} [options] default the cluster's
 * @returns {Promise<any[][][]>} for each client what it received meanwhile, as `[event, ...args]`
 */
async function deliveries(cluster, sender, send, { clients = cluster.clients } = {}) {
  const starts = clients.map(({ record }) => record.length);
  await send();
  const marker = `${MARKER}:${markers++}`;
  for (const nsp of new Set(clients.map((client) => client.nsp))) {
    (typeof sender === "number" ? cluster.io(sender) : sender).of(nsp).emit(marker);
  }
  await Promise.all(clients.map((client) => client.receives(marker)));
  return clients.map(({ record }, i) =>
    record.slice(starts[i]).filter(([event]) => !event.startsWith(MARKER)),
  );
}

/**
 * Waits until every node has handled what `sender` has sent so far.
 *
 * @param {import("./cluster").Cluster} cluster with a client on each node
 * @param {Sender} sender
 */
async function flushed(cluster, sender) {
  await deliveries(cluster, sender, () => {});
}

/**
 * Asserts that exactly `receivers` get what `send` sends, once.
 *
 * @param {import("./cluster").Cluster} cluster
 * @param {Sender} sender
 * @param {() => unknown} send
 * @param {import("./socket-client").SocketClient[]} receivers
 * @param {any[]} packet the event with its arguments
 * @param {{ clients?: import("./socket-client").SocketClient[] }} [options]
 */
async function assertReceivers(cluster, sender, send, receivers, packet, options = {}) {
  const { clients = cluster.clients } = options;
  const actual = await deliveries(cluster, sender, send, { clients });
  const expected = clients.map((client) => (receivers.includes(client) ? [packet] : []));
  assert.deepEqual(actual, expected, "what each client received");
}

module.exports = { deliveries, flushed, assertReceivers };

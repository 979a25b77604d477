// What a fault of the servers may have cost: nothing but what their own replication lost. A master
// acknowledges before its replica has an entry, and when it dies then, the entry is gone. That must
// be said, and nothing else may be missing or doubled.

"use strict";

const assert = require("node:assert/strict");
const { EVENT } = require("../faults/traffic");
const { waitFor } = require("../helpers/wait");
const { decodeData, entriesAfter, lastEntryId } = require("../helpers/wire");

/** @typedef {import("../helpers/clients").Admin} Admin */
/** @typedef {import("../helpers/cluster").Cluster} Cluster */
/** @typedef {import("../faults/traffic").Traffic} Traffic */

const STREAM = "socket.io";

/** Remembers the losses that each node says. @param {Cluster} cluster */
function recordLosses(cluster) {
  return cluster.nodes.map(({ index }) => {
    /** @type {any[]} */
    const losses = [];
    cluster.adapter(index).on("loss", (/** @type {any} */ loss) => losses.push(loss));
    return losses;
  });
}

/**
 * Waits until everything is written and read, and judges.
 *
 * @param {object} of
 * @param {Cluster} of.cluster each node with one client
 * @param {Traffic} of.traffic stopped
 * @param {Admin} of.admin to the servers as they are now
 * @param {any[][]} of.losses of {@link recordLosses}
 * @returns {Promise<{ lost: number, said: number }>} packets that a client lacks, on all clients
 *   together, and losses that were said
 */
async function judge({ cluster, traffic, admin, losses }) {
  await isRead(cluster, admin);
  const inStream = (await entriesAfter(admin, STREAM))
    .map(({ fields }) => fields.data && decodeData(fields.data).packet?.data)
    .filter((data) => data?.[0] === EVENT)
    .map(([, from, number]) => `${from}:${number}`);
  const survived = new Set(inStream);
  const emitted = traffic.counts.flatMap((count, from) =>
    Array.from({ length: count }, (_, number) => `${from}:${number}`),
  );
  let lost = 0;
  for (const [place, client] of traffic.clients.entries()) {
    /** What stands in the stream, and the client does not have. */
    const owed = () => {
      const got = new Set(traffic.received(client));
      return [...survived].filter((packet) => !got.has(packet));
    };
    // The engines have read everything, but the last packets may be on their way to the clients.
    await waitFor(() => owed().length === 0, {
      what: () => `what is in the stream, but not at client ${place}: ${owed()}`,
    });
    const received = traffic.received(client);
    const got = new Set(received);
    assert.equal(got.size, received.length, `client ${place} got something twice`);
    traffic.counts.forEach((_, from) => {
      const numbers = received.filter((p) => p.startsWith(`${from}:`)).map((p) => +p.split(":")[1]);
      const sorted = [...numbers].sort((a, b) => a - b);
      assert.deepEqual(numbers, sorted, `the order of emitter ${from} at client ${place}`);
    });
    const missing = emitted.filter((packet) => !got.has(packet));
    lost += missing.length;
    if (missing.length > 0) {
      await waitFor(() => losses[place].length > 0, {
        what: () => `node ${place} to say that it lacks ${missing}`,
      });
    }
  }
  return { lost, said: losses.flat().length };
}

/**
 * Waits until every node has written all that it published, and has read all of the stream.
 *
 * @param {Cluster} cluster
 * @param {Admin} admin
 */
async function isRead(cluster, admin) {
  const states = () => cluster.nodes.map(({ index }) => cluster.adapter(index).stats());
  let tail = "";
  await waitFor(
    async () => {
      const isWritten = states().every(({ queueLength }) => queueLength === 0);
      tail = await lastEntryId(admin, STREAM);
      return isWritten && states().every(({ position }) => position === tail);
    },
    {
      timeout: 20_000,
      interval: 50,
      what: () =>
        `all nodes to write and read up to ${tail}: ` +
        JSON.stringify(states().map(({ queueLength, position }) => ({ queueLength, position }))),
    },
  );
}

module.exports = { STREAM, isRead, judge, recordLosses };

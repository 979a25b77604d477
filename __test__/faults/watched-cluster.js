// Two nodes that work and leave nothing unhandled, whatever a test has done to them.

"use strict";

const assert = require("node:assert/strict");
const { afterEach, beforeEach } = require("node:test");
const { useCluster } = require("../helpers/cluster");
const { settle, waitFor, within } = require("../helpers/wait");
const { takeWarnings, warnings } = require("./warnings");

/** What nobody has handled. @type {unknown[]} */
const unhandled = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));
process.on("uncaughtException", (error) => unhandled.push(error));

const HANDLER = "ERR_SIO_REDIS_HANDLER";

const context = useCluster({
  nodes: 2,
  serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } },
});

beforeEach(() => void takeWarnings());

afterEach(async () => {
  await assertAllWorks();
  await settle(20); // rejections are reported a turn later
  assert.deepEqual(unhandled.splice(0), [], "nothing is left unhandled");
});

/** @param {number} index @returns {any} */
const ioOf = (index) => context.cluster.io(index);
/** @param {number} index @returns {any} */
const statsOf = (index) => context.cluster.adapter(index).stats();

let probes = 0;

/** Asserts that both nodes still emit, read, ask and answer. */
async function assertAllWorks() {
  const { clients } = context.cluster;
  const event = `works:${probes++}`;
  for (const index of [0, 1]) {
    ioOf(index).emit(event, index);
  }
  await Promise.all(clients.map((client) => client.receives(event, 2)));
  for (const index of [0, 1]) {
    const sockets = await within(ioOf(index).fetchSockets(), "fetchSockets");
    const connected = [0, 1].map((each) => ioOf(each).of("/").sockets.size);
    assert.equal(sockets.length, connected[0] + connected[1]);
  }
}

/** @param {string} code */
async function warned(code) {
  await waitFor(() => warnings.some((warning) => warning.code === code), {
    what: () => `a warning ${code}, not ${JSON.stringify(warnings)}`,
  });
}

module.exports = { HANDLER, assertAllWorks, context, ioOf, statsOf, warned };

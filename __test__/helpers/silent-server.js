// A server that the others count and wait for, and which answers nothing.

"use strict";

const adapters = require("./adapters");
const { waitFor } = require("./wait");
const { addEntry, streamOf } = require("./wire");

const HEARTBEAT = 2;
const ADAPTER_CLOSE = 13;
const UID = "5113117000000000";

/**
 * Over PUB/SUB who subscribes to the request channel is a server, in the stream who writes to it.
 *
 * @param {{ admin: import("./clients").Admin, cluster: import("./cluster").Cluster }} context of
 *   three nodes
 * @returns {Promise<() => Promise<void>>} ends it
 */
async function startSilentServer({ admin, cluster }) {
  const say = (/** @type {number} */ type) =>
    addEntry(admin, streamOf("/"), { uid: UID, nsp: "/", type });
  const { length } = cluster.nodes;
  /** @type {() => Promise<unknown>} */
  let leave;
  if (adapters.viaStream) {
    await say(HEARTBEAT);
    leave = () => say(ADAPTER_CLOSE);
  } else {
    const subscriber = await admin.subscribe("socket.io#/#", () => {});
    leave = () => subscriber.close();
  }
  for (const { io } of cluster.nodes) {
    await waitFor(async () => (await io.of("/").adapter.serverCount()) === length + 1, {
      what: "the silent server to be counted",
    });
  }
  return async () => {
    await leave();
    await cluster.whole();
  };
}

module.exports = { startSilentServer };

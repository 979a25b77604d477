// Rooms that a socket leaves, and perhaps joins again, while its connection is broken and nobody has
// noticed.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { useCluster } = require("../helpers/cluster");
const { missedBy } = require("../helpers/recovery");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { once } = require("../helpers/wait");

describe("a client whose connection is broken", () => {
  const context = useCluster({
    nodes: 2,
    clientsPerNode: 0,
    // A ping fails only long after each test: the client is back before.
    serverOptions: { connectionStateRecovery: {}, pingInterval: 60_000 },
  });

  /**
   * What a client has missed that was in a room when its connection broke. Its socket left the room then.
   *
   * @param {import("node:test").TestContext} t
   * @param {boolean} comesBack whether the socket joined the room again
   */
  async function missedAround(t, comesBack) {
    const { cluster } = context;
    const proxy = await startProxy(cluster.nodes[0].port);
    t.after(() => proxy.close());
    const client = await connectClient(`http://127.0.0.1:${proxy.port}`);
    cluster.homes.set(client, cluster.nodes[0]);
    const socket = cluster.serverSocket(client);
    // Another member, so that the room stays, and tells what has arrived.
    const other = await cluster.connect(0);
    cluster.serverSocket(other).join("room");
    socket.join("room");
    cluster.io(0).to("room").emit("first");
    await client.receives("first");

    proxy.stall();
    const emit = async (/** @type {string} */ event) => {
      cluster.io(1).to("room").emit(event);
      await other.receives(event);
    };
    await emit("before");
    socket.leave("room");
    await emit("between");
    if (comesBack) {
      socket.join("room");
    }
    await emit("behind");
    const left = once(client.socket, "disconnect");
    client.cut();
    await left;
    const missed = (await missedBy(cluster, client, 1)).flat();
    await cluster.disconnect(client);
    await cluster.disconnect(other);
    return missed;
  }

  // Breaks when only the last join counts. Nobody knows whether the client has got what was sent before
  // it left; the session has one entry for the room, so the client gets what came between as well.
  test("gets what was sent to a room that its socket has left and joined again", async (t) => {
    assert.deepEqual(await missedAround(t, true), ["before", "between", "behind"]);
  });

  test("gets nothing of a room that its socket has left, as with other adapters", async (t) => {
    assert.deepEqual(await missedAround(t, false), []);
  });
});

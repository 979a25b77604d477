// A session belongs to a namespace: its middlewares have let the client in, and those of another one
// have not. So no client gets into a namespace with the session that it has in another.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { useCluster } = require("../helpers/cluster");
const {
  clientWithOffset,
  cut,
  liveKeyOf,
  missedBy,
  offsetOf,
  pidOf,
} = require("../helpers/recovery");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");

for (const liveSessions of [true, false]) {
  describe(`a session of another namespace (liveSessions: ${liveSessions})`, () => {
    const context = useCluster({
      nodes: 2,
      clientsPerNode: 0,
      serverOptions: { connectionStateRecovery: {} },
      adapterOptions: { liveSessions },
      setup: (io) => {
        io.of("/admin").use((_socket, next) => next(new Error("not allowed")));
      },
    });

    /** Whoever has the session ID and an offset. @param {{ pid: string, offset: string }} auth */
    async function assertRefused(auth) {
      for (const { url } of context.cluster.nodes) {
        await assert.rejects(connectClient(url, { nsp: "/admin", auth }), /not allowed/);
      }
    }

    // Breaks when the session is taken for one of the namespace, or is taken from its own.
    test("lets nobody in, and is still there for its own", async () => {
      const { cluster } = context;
      const client = await clientWithOffset(cluster, 0);
      const auth = { pid: pidOf(cluster, client), offset: offsetOf(client) };
      if (liveSessions) {
        const key = liveKeyOf(auth.pid);
        await waitFor(() => context.admin.command("EXISTS", key), { what: "the session's record" });
      }
      await assertRefused(auth);
      assert.ok(client.socket.connected, "the client itself is left alone");
      await cut(cluster, client);
      await assertRefused(auth);
      cluster.io(0).emit("missed");
      assert.deepEqual(await missedBy(cluster, client, 1), [["missed"]]);
    });
  });
}

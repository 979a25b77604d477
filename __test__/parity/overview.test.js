// What people ask of a cluster without needing the sockets themselves: its rooms, the number of
// sockets, their IDs. Upstream's adapter has none of it; beside nodes of upstream, ours has.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { adapters, useCluster } = require("../helpers/cluster");
const { startSilentServer } = require("../helpers/silent-server");

const NODES = [0, 1, 2];

const context = useCluster({ clientsPerNode: 2 });

/** @param {Iterable<string>} names */
const sorted = (names) => [...names].sort();

for (const sender of NODES) {
  const isUpstreams = adapters.kindOf(sender).startsWith("upstream");
  const skip = isUpstreams && "the method is ours";
  describe(`asked by node ${sender} (${adapters.kindOf(sender)})`, { skip }, () => {
    const adapter = () => /** @type {any} */ (context.cluster.io(sender).of("/").adapter);
    /** @param {import("../helpers/socket-client").SocketClient[]} clients */
    const ids = (clients) => sorted(clients.map(({ id }) => id));

    test("all rooms of the cluster, those of single sockets included", async () => {
      const { cluster } = context;
      const room = `overview-${sender}`;
      cluster.serverSocket(cluster.clients[1]).join(room);
      cluster.serverSocket(cluster.clients[4]).join(room);
      const rooms = await adapter().allRooms();
      assert.ok(rooms instanceof Set && rooms.has(room));
      cluster.clients.forEach(({ id }) => assert.ok(rooms.has(id)));
    });

    test("the number and the IDs of all sockets, and of those in and not in rooms", async () => {
      const { cluster } = context;
      const [a, b, c, d, e, f] = cluster.clients;
      const [first, second] = [`first-${sender}`, `second-${sender}`];
      [a, d, e].forEach((client) => cluster.serverSocket(client).join(first));
      [b, d].forEach((client) => cluster.serverSocket(client).join(second));
      /** @type {[object | undefined, typeof cluster.clients][]} */
      const cases = [
        [undefined, [a, b, c, d, e, f]],
        [{ rooms: [first] }, [a, d, e]],
        [{ rooms: new Set([first, second]) }, [a, b, d, e]],
        [{ except: [first] }, [b, c, f]],
        [{ rooms: [first], except: [second] }, [a, e]],
        [{ rooms: ["nobody's"] }, []],
        [{ flags: { local: true } }, cluster.clientsOf(sender)],
      ];
      for (const [opts, expected] of cases) {
        assert.equal(await adapter().countSockets(opts), expected.length);
        assert.deepEqual(sorted(await adapter().socketIds(opts)), ids(expected));
      }
    });

    test("behind the joins that were made before, on this node and on others", async () => {
      const room = `joined-${sender}`;
      context.cluster.io(sender).socketsJoin(room);
      assert.equal(await adapter().countSockets({ rooms: [room] }), 6);
    });
  });
}

describe("a server that listens and does not answer", () => {
  const [node] = NODES.filter((index) => !adapters.kindOf(index).startsWith("upstream"));
  const skip = adapters.pubSubOnly() || (node === undefined && "no node is ours");

  test("makes the request fail, with what was answered", { skip }, async (t) => {
    const end = await startSilentServer(context);
    t.after(end);
    const io = context.cluster.io(/** @type {number} */ (node));
    const adapter = /** @type {any} */ (io.of("/").adapter);
    const opts = { flags: { timeout: 500 } };
    await assert.rejects(io.timeout(500).fetchSockets(), (/** @type {any} */ error) => {
      assert.match(error.message, /timeout reached/);
      assert.equal(error.responses.length, 4);
      return true;
    });
    await assert.rejects(adapter.countSockets(opts), (/** @type {any} */ error) => {
      assert.match(error.message, /timeout reached/);
      assert.equal(error.responses.length, 4);
      return true;
    });
  });
});

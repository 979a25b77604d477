// Who counts as a server: nodes that come, go, and share a process or a Redis with others.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { adapters, Cluster, startCluster, useCluster, useRedis } = require("../helpers/cluster");
const { assertReceivers, deliveries } = require("../helpers/delivery");
const { settle, waitFor } = require("../helpers/wait");

const NODES = [0, 1, 2];

describe("a cluster of three", () => {
  const context = useCluster({
    namespaces: ["/", "/chat"],
    setup: (io, node) => {
      io.of("/chat");
      if (node === 1) {
        io.of("/only-1");
      }
    },
  });

  test("serverCount() is the number of nodes, for each namespace", async () => {
    const { cluster } = context;
    for (const node of NODES) {
      assert.equal(await cluster.adapter(node).serverCount(), 3);
      assert.equal(await cluster.adapter(node, "/chat").serverCount(), 3);
    }
    await waitFor(async () => (await cluster.adapter(1, "/only-1").serverCount()) === 1);
  });

  test("a node that starts later joins in", async () => {
    const { cluster } = context;
    const node = await cluster.addNode(3);
    await cluster.whole();
    const client = await cluster.connect(3);
    const clients = [...cluster.clients, client];
    for (const sender of [...NODES, 3]) {
      await assertReceivers(
        cluster,
        sender,
        () => cluster.io(sender).emit("hello", sender),
        clients,
        ["hello", sender],
        { clients },
      );
      assert.equal((await cluster.io(sender).fetchSockets()).length, 4);
    }
    await cluster.disconnect(client);
    await node.close();
    cluster.nodes.pop();
    await cluster.whole();
  });

  test("a node that leaves is no longer counted or waited for", async () => {
    const { cluster } = context;
    for (const leaver of NODES) {
      const staying = cluster.nodes.filter(({ index }) => index !== leaver);
      const clients = cluster.clients.filter((client) => cluster.homeOf(client).index !== leaver);
      await cluster.nodes[leaver].close();
      await cluster.whole("/", staying);
      for (const { index, io } of staying) {
        assert.equal((await io.fetchSockets()).length, 2);
        await assertReceivers(cluster, index, () => io.emit("hello"), clients, ["hello"], {
          clients,
        });
      }
      // the same place is taken again
      await cluster.addNode(leaver);
      await cluster.whole();
      const old = cluster.clients[leaver];
      await old.reconnect(cluster.nodes[leaver].url);
      cluster.homes.set(old, cluster.nodes[leaver]);
    }
  });
});

describe("closing", () => {
  const context = useRedis();

  test("io.close() leaves no connection to Redis behind, and can be called again", async () => {
    const { admin, redis } = context;
    const cluster = await startCluster(context, { namespaces: ["/", "/chat"] });
    await cluster.close();
    await Promise.all(cluster.nodes.map(({ io }) => io.close()));
    await waitFor(async () => (await redis.connectionCount()) === admin.connections, {
      what: () => "all connections but the test's own to be closed",
    });
    assert.equal(await admin.command("PING"), "PONG");
  });

  test("a client that was passed stays the caller's: open and usable", async (t) => {
    const cluster = await startCluster(context, { nodes: 1 });
    const [{ adapterArgument, io }] = cluster.nodes;
    if (typeof adapterArgument.ping !== "function") {
      t.skip("no client was passed");
    } else {
      await io.close();
      await settle(50);
      if (adapterArgument.status === "wait") {
        await adapterArgument.connect(); // ioredis with lazyConnect, which nobody has used so far
      }
      assert.equal(await adapterArgument.ping(), "PONG");
    }
    await cluster.close();
  });

  test("adapter.close() twice", async () => {
    const cluster = await startCluster(context, { namespaces: ["/", "/chat"] });
    const adapter = cluster.adapter(0, "/chat");
    await adapter.close();
    await adapter.close();
    // the node's other namespaces go on
    await assertReceivers(cluster, 0, () => cluster.io(0).emit("hello"), cluster.clients, [
      "hello",
    ]);
    await cluster.close();
  });

  for (const node of NODES) {
    test(
      `a namespace closed on node ${node} is no longer counted in this namespace`,
      {
        skip: adapters.upstreamCannot("it stays subscribed to a closed namespace's channels", [
          node,
        ]),
      },
      async () => {
        const cluster = await startCluster(context, { namespaces: ["/", "/chat"] });
        await cluster.adapter(node, "/chat").close();
        const others = cluster.nodes.filter(({ index }) => index !== node);
        await cluster.whole("/chat", others);
        assert.equal(await cluster.adapter(node).serverCount(), 3, "/ is still open there");
        for (const { io } of others) {
          assert.deepEqual(await io.of("/chat").fetchSockets(), []);
        }
        await cluster.close();
      },
    );

    test(
      `after the last namespace of node ${node} was closed, one opened later works`,
      { skip: adapters.upstreamCannot("it never reads again after its last close", [node]) },
      async () => {
        const cluster = await startCluster(context);
        await cluster.adapter(node).close();
        cluster.io(node).of("/later");
        await cluster.whole("/later");
        const clients = await Promise.all(
          NODES.map((index) => cluster.connect(index, { nsp: "/later" })),
        );
        for (const sender of NODES) {
          await assertReceivers(
            cluster,
            sender,
            () => cluster.io(sender).of("/later").emit("hello", sender),
            clients,
            ["hello", sender],
            { clients },
          );
          assert.equal((await cluster.io(sender).of("/later").fetchSockets()).length, 3);
        }
        await cluster.close();
      },
    );
  }

  test(
    "an adapter closed at once, before it could connect",
    {
      skip: adapters.upstreamCannot("its subscription is then rejected, which nobody handles", [0]),
    },
    async () => {
      const { admin, redis } = context;
      for (let i = 0; i < 5; i++) {
        const cluster = new Cluster(redis, admin, {});
        await cluster.addNode(0);
        await cluster.close();
      }
      await waitFor(async () => (await redis.connectionCount()) === admin.connections, {
        what: "all connections but the test's own to be closed",
      });
    },
  );
});

describe("several clusters on one Redis, in one process", () => {
  const context = useRedis();

  test("other stream and channel names are other clusters", async () => {
    const clusters = await Promise.all(
      ["red", "blue"].map((name) =>
        startCluster(context, {
          adapterOptions: { streamName: `${name}-stream`, channelPrefix: `${name}-channel` },
        }),
      ),
    );
    clusters.forEach((cluster, i) =>
      // @ts-ignore not an event that a server is known to emit
      cluster.nodes.forEach(({ io }) => io.on("which", (answer) => answer(i))),
    );
    for (const [i, cluster] of clusters.entries()) {
      const other = clusters[1 - i];
      for (const sender of NODES) {
        const io = /** @type {any} */ (cluster.io(sender));
        // what the other cluster should not get would be there before its own marker
        const foreign = await deliveries(other, sender, () =>
          assertReceivers(cluster, sender, () => io.emit("hello", i, sender), cluster.clients, [
            "hello",
            i,
            sender,
          ]),
        );
        assert.deepEqual(foreign, [[], [], []]);
        assert.equal(await cluster.adapter(sender).serverCount(), 3);
        assert.deepEqual(
          (await io.fetchSockets()).map((/** @type {any} */ { id }) => id).sort(),
          cluster.clients.map(({ id }) => id).sort(),
        );
        assert.deepEqual(await io.serverSideEmitWithAck("which"), [i, i]);
      }
    }
    await Promise.all(clusters.map((cluster) => cluster.close()));
  });
});

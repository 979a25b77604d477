// The adapter's options, where they can be seen: in Redis.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { adapters, startCluster, useCluster, useRedis } = require("../helpers/cluster");
const { needsDefault, needsServer } = require("../helpers/configuration");
const { assertReceivers, deliveries, flushed } = require("../helpers/delivery");
const { ANSWER_TIMEOUT, waitFor } = require("../helpers/wait");
const { entriesAfter, lastEntryId, streamOf } = require("../helpers/wire");

const NODES = [0, 1, 2];

/**
 * Every feature in short, from each node, in a namespace that the clients are in.
 *
 * @param {import("../helpers/cluster").Cluster} cluster
 * @param {string} [nsp]
 * @param {import("../helpers/socket-client").SocketClient[]} [clients] one per node
 */
async function assertWorks(cluster, nsp = "/", clients = cluster.clients) {
  for (const sender of NODES) {
    const namespace = /** @type {any} */ (cluster.io(sender).of(nsp));
    await assertReceivers(
      cluster,
      sender,
      () => namespace.emit("hello", sender),
      clients,
      ["hello", sender],
      { clients },
    );
    const room = `room-${sender}`;
    namespace.socketsJoin(room);
    await assertReceivers(
      cluster,
      sender,
      () => namespace.to(room).emit("room", sender),
      clients,
      ["room", sender],
      { clients },
    );
    assert.deepEqual(
      (await namespace.fetchSockets()).map((/** @type {any} */ { id }) => id).sort(),
      clients.map(({ id }) => id).sort(),
    );
    const event = `event-${sender}`;
    for (const node of NODES) {
      // @ts-ignore not an event that a namespace is known to emit
      cluster
        .io(node)
        .of(nsp)
        .once(event, (answer) => answer(node));
    }
    assert.deepEqual(
      (await namespace.serverSideEmitWithAck(event)).sort(),
      NODES.filter((node) => node !== sender),
    );
    cluster.io(sender).of(nsp).removeAllListeners(event);
    clients.forEach(({ socket }, i) => socket.once("ask", (answer) => answer(i)));
    assert.deepEqual((await namespace.timeout(ANSWER_TIMEOUT).emitWithAck("ask")).sort(), NODES);
  }
}

const defaults = needsDefault(
  ["streamCount", "useShardedPubSub"],
  "the streams and channels have other names, or are counted elsewhere",
);

describe("defaults", { skip: defaults }, () => {
  const context = useCluster();

  test("the stream is socket.io, the channels begin with socket.io#", async () => {
    const { admin, cluster } = context;
    await flushed(cluster, 0);
    assert.deepEqual(await admin.command("KEYS", "*"), ["socket.io"]);
    assert.equal(await admin.command("TYPE", "socket.io"), "stream");
    if (adapters.viaStream) {
      assert.deepEqual(await admin.command("PUBSUB", "CHANNELS"), []);
      return;
    }
    const channels = await admin.command("PUBSUB", "CHANNELS", "socket.io#*");
    for (const node of NODES) {
      assert.ok(channels.includes(`socket.io#/#${cluster.adapter(node).uid}#`));
    }
    assert.deepEqual(await admin.command("PUBSUB", "NUMSUB", "socket.io#/#"), ["socket.io#/#", 3]);
  });
});

describe("streamName and channelPrefix", { skip: defaults }, () => {
  const context = useCluster({
    adapterOptions: { streamName: "my:stream", channelPrefix: "my:channel" },
  });

  test("name the stream and the channels", async () => {
    const { admin, cluster } = context;
    await assertWorks(cluster);
    assert.deepEqual(await admin.command("KEYS", "*"), ["my:stream"]);
    if (!adapters.viaStream) {
      assert.deepEqual(await admin.command("PUBSUB", "NUMSUB", "my:channel#/#", "socket.io#/#"), [
        ...["my:channel#/#", 3],
        ...["socket.io#/#", 0],
      ]);
    }
  });
});

describe("streamCount", { skip: adapters.upstream02Cannot("it has a single stream") }, () => {
  const streamCount = 4;
  // one namespace per stream, all of which upstream reads, too
  const namespaces = ["/admin", "/d", "/a", "/"];
  const context = useCluster({
    adapterOptions: { streamCount },
    namespaces,
    setup: (io) => namespaces.forEach((nsp) => io.of(nsp)),
    clientsPerNode: 0,
  });

  test("these namespaces are spread over all streams", () => {
    assert.deepEqual(
      new Set(namespaces.map((nsp) => streamOf(nsp, { streamCount }))),
      new Set(["socket.io-0", "socket.io-1", "socket.io-2", "socket.io-3"]),
    );
  });

  for (const nsp of namespaces) {
    test(`${nsp} works, in a stream of its own`, async () => {
      const { admin, cluster } = context;
      const clients = await Promise.all(NODES.map((node) => cluster.connect(node, { nsp })));
      const stream = streamOf(nsp, { streamCount });
      const before = await lastEntryId(admin, stream);
      await assertWorks(cluster, nsp, clients);
      const entries = await entriesAfter(admin, stream, before);
      assert.ok(entries.length > 0);
      assert.ok(entries.every(({ fields }) => fields.nsp === nsp));
    });
  }

  test("no other stream is written to", async () => {
    assert.deepEqual((await context.admin.command("KEYS", "*")).sort(), [
      ...["socket.io-0", "socket.io-1", "socket.io-2", "socket.io-3"],
    ]);
  });

  for (const nsp of ["/notifications", "/dashboard"]) {
    test(
      `${nsp}, whose hash is negative, works`,
      {
        skip: adapters.upstreamCannot("it writes to a stream with a negative number, read by none"),
      },
      async () => {
        const { cluster } = context;
        await cluster.whole(nsp);
        const clients = await Promise.all(NODES.map((node) => cluster.connect(node, { nsp })));
        await assertWorks(cluster, nsp, clients);
      },
    );
  }
});

describe(
  "useShardedPubSub",
  { skip: adapters.pubSubOnly() || needsServer(7, "sharded PUB/SUB") },
  () => {
    const context = useCluster({ adapterOptions: { useShardedPubSub: true } });

    test("everything works, over sharded channels only", async () => {
      const { admin, cluster } = context;
      await assertWorks(cluster);
      const channel = "socket.io#/#";
      assert.deepEqual(await admin.command("PUBSUB", "SHARDNUMSUB", channel), [channel, 3]);
      assert.deepEqual(await admin.command("PUBSUB", "NUMSUB", channel), [channel, 0]);
      const channels = await admin.command("PUBSUB", "SHARDCHANNELS");
      for (const node of NODES) {
        assert.ok(channels.includes(`socket.io#/#${cluster.adapter(node).uid}#`));
      }
    });
  },
);

describe("maxLen", () => {
  // Redis trims whole nodes of a stream, of 100 entries unless configured otherwise
  const context = useCluster({ adapterOptions: { maxLen: 200 } });

  for (const sender of NODES) {
    test(`bounds the stream roughly, from node ${sender}`, async () => {
      const { admin, cluster } = context;
      for (let batch = 0; batch < 10; batch++) {
        // no node is further behind than a batch, so that none can lose what is trimmed
        const all = await deliveries(cluster, sender, () => {
          for (let i = 0; i < 100; i++) {
            cluster.io(sender).emit("hello", i);
          }
        });
        all.forEach((packets) => assert.equal(packets.length, 100));
      }
      const length = await admin.command("XLEN", streamOf("/"));
      assert.ok(length >= 200 && length <= 400, `the stream has ${length} entries`);
    });
  }
});

describe("readCount", () => {
  const context = useCluster({ adapterOptions: { readCount: 3 } });

  for (const sender of NODES) {
    test(`a small one loses nothing, from node ${sender}`, async () => {
      const { cluster } = context;
      const all = await deliveries(cluster, sender, () => {
        for (let i = 0; i < 100; i++) {
          cluster.io(sender).emit("hello", i);
        }
      });
      const expected = Array.from({ length: 100 }, (_, i) => ["hello", i]);
      all.forEach((packets) => assert.deepEqual(packets, expected));
    });
  }
});

describe("blockTimeInMs", () => {
  const context = useRedis();

  test("a short one loses nothing while nothing is read for a while", async () => {
    const cluster = await startCluster(context, { adapterOptions: { blockTimeInMs: 20 } });
    for (let i = 0; i < 20; i++) {
      const sender = i % 3;
      // a pause of about the block time, so that reads end in between
      await new Promise((resolve) => setTimeout(resolve, 15 + i));
      await assertReceivers(
        cluster,
        sender,
        () => cluster.io(sender).emit("hello", i),
        cluster.clients,
        ["hello", i],
      );
    }
    await cluster.close();
  });
});

describe("sessionKeyPrefix", () => {
  const context = useCluster({
    adapterOptions: { sessionKeyPrefix: "my:session:" },
    serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 30_000 } },
  });

  for (const node of NODES) {
    test(`names the key of a session, which expires, on node ${node}`, async () => {
      const { admin, cluster } = context;
      const client = cluster.clients[node];
      const { pid } = /** @type {any} */ (cluster.serverSocket(client));
      await cluster.cut(client);
      const key = `my:session:${pid}`;
      await waitFor(async () => (await admin.command("EXISTS", key)) === 1, {
        what: `the key ${key}`,
      });
      const ttl = await admin.command("PTTL", key);
      assert.ok(ttl > 0 && ttl <= 30_000, `it expires in ${ttl} ms`);
    });
  }
});

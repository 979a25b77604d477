// Nodes in worker threads and in processes of their own, in one cluster with nodes in this thread.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { adapters, startCluster, useRedis } = require("../helpers/cluster");
const { startChildNode, startWorkerNode } = require("../helpers/remote-node");
const { connectClient } = require("../helpers/socket-client");
const { ANSWER_TIMEOUT, waitFor } = require("../helpers/wait");
const { addEntry, streamOf } = require("../helpers/wire");

/** @typedef {import("../helpers/remote-node").RemoteNode} RemoteNode */

const context = useRedis();

/**
 * Waits until a cluster of this thread and nodes elsewhere see each other and read the stream.
 *
 * @param {import("../helpers/cluster").Cluster} cluster
 * @param {RemoteNode[]} remotes
 */
async function whole(cluster, remotes) {
  const size = cluster.nodes.length + remotes.length;
  await waitFor(
    async () => {
      const counts = await Promise.all([
        ...cluster.nodes.map(({ index }) => cluster.adapter(index).serverCount()),
        ...remotes.map((remote) => remote.serverCount()),
      ]);
      return counts.every((count) => count === size);
    },
    { what: `${size} nodes to see each other` },
  );
  await Promise.all(remotes.map((remote) => remote.listen("probe")));
  await waitFor(
    async () => {
      await addEntry(context.admin, streamOf("/"), {
        ...{ uid: "emitter", nsp: "/", type: 9, data: '{"packet":["probe"]}' },
      });
      const events = await Promise.all(remotes.map((remote) => remote.serverSideEvents()));
      return events.every((list) => list.some(([event]) => event === "probe"));
    },
    { what: "the nodes elsewhere to read the stream", interval: 20 },
  );
}

for (const [place, start] of /** @type {const} */ ([
  ["worker threads", startWorkerNode],
  ["processes", startChildNode],
])) {
  describe(`nodes in ${place}`, () => {
    test("do everything together with nodes here, and end by themselves", async () => {
      const { redis } = context;
      const adapterOptions = { blockTimeInMs: 200 };
      const cluster = await startCluster(context, { nodes: 1 });
      const remotes = await Promise.all([
        start({ redis, index: 1, adapterOptions }),
        start({ redis, index: 2, adapterOptions }),
      ]);
      await whole(cluster, remotes);
      const clients = [
        ...cluster.clients,
        ...(await Promise.all(remotes.map(({ url }) => connectClient(url)))),
      ];
      const io = /** @type {any} */ (cluster.io(0));

      // broadcasts, from here and from there
      io.emit("from", 0);
      await Promise.all(remotes.map((remote, i) => remote.emit("from", [i + 1])));
      for (const client of clients) {
        const received = await client.receives("from", 3);
        assert.deepEqual(received.sort(), [[0], [1], [2]]);
      }

      // rooms
      await remotes[0].socketsJoin(["room"], { rooms: [clients[0].id, clients[2].id] });
      await remotes[0].emit("to room", [], { rooms: ["room"] });
      await remotes[0].emit("to all");
      await Promise.all(clients.map((client) => client.receives("to all")));
      assert.deepEqual(
        clients.map((client) => client.received("to room").length),
        [1, 0, 1],
      );

      // requests
      const ids = clients.map(({ id }) => id).sort();
      assert.deepEqual(
        (await io.fetchSockets()).map((/** @type {any} */ { id }) => id).sort(),
        ids,
      );
      for (const remote of remotes) {
        assert.deepEqual((await remote.fetchSockets()).map(({ id }) => id).sort(), ids);
      }
      clients.forEach(({ socket }, i) => socket.on("ask", (answer) => answer(i)));
      assert.deepEqual((await io.timeout(ANSWER_TIMEOUT).emitWithAck("ask")).sort(), [0, 1, 2]);
      const acks = await remotes[1].emitWithAck("ask", [], { timeout: ANSWER_TIMEOUT });
      assert.deepEqual(acks.responses.sort(), [0, 1, 2]);
      io.on("who", (/** @type {any} */ answer) => answer("here"));
      await remotes[0].listen("who", "first");
      await remotes[1].listen("who", "second");
      assert.deepEqual((await io.serverSideEmitWithAck("who")).sort(), ["first", "second"]);
      const answers = await remotes[0].serverSideEmitWithAck("who");
      assert.deepEqual(answers.responses.sort(), ["here", "second"]);

      // the end
      for (const remote of remotes) {
        const { unhandledRejections, uncaughtExceptions } = await remote.report();
        assert.deepEqual(
          { unhandledRejections, uncaughtExceptions },
          {
            unhandledRejections: [],
            uncaughtExceptions: [],
          },
        );
        assert.equal(await remote.close(), 0);
      }
      await cluster.whole();
      assert.equal((await io.fetchSockets()).length, 1);
      clients.forEach((client) => client.disconnect());
      await cluster.close();
    });
  });
}

test("a worker that is terminated leaves the cluster, and the others go on", async () => {
  const { redis } = context;
  const cluster = await startCluster(context, { nodes: 2 });
  for (let round = 0; round < 3; round++) {
    const worker = await startWorkerNode({ redis, index: round });
    await whole(cluster, [worker]);
    await worker.emit("before the end", [round]);
    await worker.terminate();
    await cluster.whole();
    for (const node of [0, 1]) {
      cluster.io(node).emit("after the end", round);
    }
    for (const client of cluster.clients) {
      await client.receives("after the end", 2 * (round + 1));
    }
    assert.equal((await cluster.io(0).fetchSockets()).length, 2);
  }
  await cluster.close();
});

test("a process that is killed leaves the cluster, and the others go on", async () => {
  const { redis } = context;
  const cluster = await startCluster(context, { nodes: 2 });
  for (let index = 0; index < 2; index++) {
    const child = await startChildNode({ redis, index });
    await whole(cluster, [child]);
    assert.equal(await child.kill("SIGKILL"), "SIGKILL");
    await cluster.whole();
    assert.equal((await cluster.io(index).fetchSockets()).length, 2);
  }
  await cluster.close();
});

test(
  "both adapters are in a mixed cluster",
  { skip: adapters.only(["mixed", "mixed-upstream-first"], "the others run one adapter") },
  () => {
    assert.deepEqual(new Set([0, 1, 2].map(adapters.kindOf)), new Set(["native", "upstream"]));
  },
);

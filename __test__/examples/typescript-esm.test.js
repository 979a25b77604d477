// examples/typescript-esm: compiled as strict as its tsconfig.json says, two nodes, and the counters
// of the adapter by its type.

"use strict";

const assert = require("node:assert/strict");
const { join } = require("node:path");
const { after, before, describe, it } = require("node:test");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");
const { EXAMPLES, build, killAll, startExample } = require("./example");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const FOLDER = join(EXAMPLES, "typescript-esm");

describe("examples/typescript-esm", () => {
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  /** @type {Awaited<ReturnType<typeof startExample>>[]} */
  let nodes = [];
  /** @type {SocketClient[]} */
  let clients = [];

  before(async () => {
    build(FOLDER);
    redis = await startRedis();
    nodes = await Promise.all([1, 2].map(() => startExample(FOLDER, { redisUrl: redis.url })));
    clients = await Promise.all(
      ["Ada", "Grace"].map((name, i) => connectClient(nodes[i].url, { auth: { name } })),
    );
  });

  after(async () => {
    clients.forEach((client) => client.disconnect());
    await killAll(nodes);
    await redis?.stop();
  });

  it("carries a message to the members of a room on both nodes", async () => {
    for (const { socket } of clients) {
      await socket.timeout(5_000).emitWithAck("join", "room");
    }
    clients[0].socket.emit("message", "room", "hello");
    for (const client of clients) {
      assert.deepEqual((await client.receives("message"))[0][0], { text: "hello", from: "Ada" });
    }
  });

  it("tells which nodes there are, and what its adapter has counted", async () => {
    const [first, second] = await Promise.all(
      nodes.map(async ({ url }) => (await fetch(`${url}/stats`)).json()),
    );
    assert.deepEqual(first.nodes.sort(), nodes.map(({ pid }) => pid).sort());
    assert.deepEqual(second.nodes.sort(), first.nodes.sort());
    assert.equal(first.published, 1);
    assert.equal(second.read, 1);
    assert.equal(second.position, first.position);
  });

  it("survives a client that sends no callback", async () => {
    const [{ socket }] = clients;
    socket.emit("join", "another");
    socket.emit("join", "another", "no function");
    await socket.timeout(5_000).emitWithAck("join", "another");
    assert.ok(nodes[0].isRunning, nodes[0].output);
  });

  it("answers 503 while Redis is away, and goes on", async () => {
    const status = async () => (await fetch(`${nodes[0].url}/stats`)).status;
    redis.pause();
    try {
      assert.equal(await status(), 503);
    } finally {
      redis.resume();
    }
    await waitFor(async () => (await status()) === 200, { what: "the numbers again" });
  });

  it("ends when it is asked to, and hands its clients over", async () => {
    const [ada, grace] = clients;
    await nodes[0].end();
    grace.socket.emit("message", "room", "meanwhile");
    await ada.reconnect(nodes[1].url);
    assert.equal(ada.socket.recovered, true);
    const [, [message]] = await ada.receives("message", 2);
    assert.deepEqual(message, { text: "meanwhile", from: "Grace" });
    await nodes[1].end();
  });
});

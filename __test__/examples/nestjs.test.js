// examples/nestjs: compiled by its own tsconfig.json, two nodes whose gateways act as one.

"use strict";

const assert = require("node:assert/strict");
const { join } = require("node:path");
const { after, before, describe, it } = require("node:test");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { EXAMPLES, build, cannotRun, killAll, startExample } = require("./example");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const FOLDER = join(EXAMPLES, "nestjs");

describe("examples/nestjs", { skip: cannotRun(FOLDER) }, () => {
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
    clients = await Promise.all([0, 1, 1].map((node) => connectClient(nodes[node].url)));
  });

  after(async () => {
    clients.forEach((client) => client.disconnect());
    await killAll(nodes);
    await redis?.stop();
  });

  /** @param {SocketClient} client @param {string} event @param {any} payload */
  function ask(client, event, payload) {
    return client.socket.timeout(5_000).emitWithAck(event, payload);
  }

  it("emits to the members of a room on both nodes, and to nobody else", async () => {
    const [first, second, outsider] = clients;
    assert.equal(await ask(first, "join", "room"), "room");
    assert.equal(await ask(second, "join", "room"), "room");
    first.socket.emit("message", { room: "room", text: "hello" });
    for (const client of [first, second]) {
      assert.equal((await client.receives("message"))[0][0], "hello");
    }
    // A packet that comes later through the same stream.
    await ask(outsider, "join", "other room");
    first.socket.emit("message", { room: "other room", text: "for the other room" });
    assert.equal((await outsider.receives("message"))[0][0], "for the other room");
  });

  it("finds the members on both nodes", async () => {
    const [first, second] = clients;
    const members = await ask(second, "members", "room");
    assert.deepEqual(members.sort(), [first.id, second.id].sort());
  });

  it("ends when it is asked to, and hands its clients over", async () => {
    const [leaving, other] = clients;
    await nodes[0].end();
    other.socket.emit("message", { room: "room", text: "meanwhile" });
    await leaving.reconnect(nodes[1].url);
    assert.equal(leaving.socket.recovered, true);
    assert.equal((await leaving.receives("message", 2))[1][0], "meanwhile");
    await nodes[1].end();
  });
});

// examples/fastify: two nodes, whose routes reach the clients of both, and that close in the hook.

"use strict";

const assert = require("node:assert/strict");
const { join } = require("node:path");
const { after, before, describe, it } = require("node:test");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { EXAMPLES, cannotRun, killAll, startExample } = require("./example");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const FOLDER = join(EXAMPLES, "fastify");

describe("examples/fastify", { skip: cannotRun(FOLDER) }, () => {
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  /** @type {Awaited<ReturnType<typeof startExample>>[]} */
  let nodes = [];
  /** @type {SocketClient[]} */
  let clients = [];

  before(async () => {
    redis = await startRedis();
    nodes = await Promise.all([1, 2].map(() => startExample(FOLDER, { redisUrl: redis.url })));
    clients = await Promise.all([
      connectClient(nodes[0].url, { transports: ["websocket"] }),
      connectClient(nodes[1].url, { transports: ["polling"] }),
    ]);
  });

  after(async () => {
    clients.forEach((client) => client.disconnect());
    await killAll(nodes);
    await redis?.stop();
  });

  it("carries a client's message to the clients of both nodes", async () => {
    clients[0].socket.emit("message", "from a client");
    for (const client of clients) {
      assert.equal((await client.receives("message"))[0][0], "from a client");
    }
  });

  it("reaches the clients of both nodes from a route, and knows of both", async () => {
    const posted = await fetch(`${nodes[1].url}/messages`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ text: "from a route" }),
    });
    assert.equal(posted.status, 202);
    for (const client of clients) {
      assert.equal((await client.receives("message", 2))[1][0], "from a route");
    }
    const ids = await (await fetch(`${nodes[0].url}/sockets`)).json();
    assert.deepEqual(ids.sort(), clients.map(({ id }) => id).sort());
  });

  it("ends when it is asked to, and hands its clients over", async () => {
    const [leaving, other] = clients;
    await nodes[0].end();
    other.socket.emit("message", "meanwhile");
    await leaving.reconnect(nodes[1].url);
    assert.equal(leaving.socket.recovered, true);
    assert.equal((await leaving.receives("message", 3))[2][0], "meanwhile");
    await nodes[1].end();
  });
});

// examples/migrate-from-redis-adapter: the same before and after, on two nodes; what is new after;
// and that the two kinds leave each other alone on one Redis, with prefixes of their own.

"use strict";

const assert = require("node:assert/strict");
const { join } = require("node:path");
const { after, before, describe, it } = require("node:test");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");
const { EXAMPLES, killAll, startExample } = require("./example");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */
/** @typedef {import("./example").ExampleNode} ExampleNode */

const FOLDER = join(EXAMPLES, "migrate-from-redis-adapter");
const SCRIPTS = { before: "before", after: "start" };

describe("examples/migrate-from-redis-adapter", () => {
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  /** @type {Record<keyof typeof SCRIPTS, ExampleNode[]>} */
  const nodes = { before: [], after: [] };
  /** @type {Record<keyof typeof SCRIPTS, SocketClient[]>} */
  const clients = { before: [], after: [] };
  const kinds = /** @type {(keyof typeof SCRIPTS)[]} */ (Object.keys(SCRIPTS));

  before(async () => {
    redis = await startRedis();
    for (const kind of kinds) {
      const options = { redisUrl: redis.url, script: SCRIPTS[kind] };
      nodes[kind] = await Promise.all([1, 2].map(() => startExample(FOLDER, options)));
      clients[kind] = await Promise.all(nodes[kind].map(({ url }) => connectClient(url)));
    }
  });

  after(async () => {
    [...clients.before, ...clients.after].forEach((client) => client.disconnect());
    await killAll([...nodes.before, ...nodes.after]);
    await redis?.stop();
  });

  /** @param {SocketClient} client @param {any[]} request */
  function ask({ socket }, ...[event, ...args]) {
    return socket.timeout(5_000).emitWithAck(event, ...args);
  }

  for (const kind of kinds) {
    it(`carries messages from node to node ${kind}, and to those of its kind only`, async () => {
      const [first, second] = clients[kind];
      await Promise.all(clients[kind].map((client) => ask(client, "join", "room")));
      first.socket.emit("message", "room", kind);
      second.socket.emit("message", "room", kind);
      for (const client of clients[kind]) {
        const texts = (await client.receives("message", 2)).map(([text]) => text);
        assert.deepEqual(texts, [kind, kind]);
      }
      const { members } = await ask(second, "members", "room");
      assert.deepEqual(members.sort(), [first.id, second.id].sort());
    });
  }

  it("has left both kinds of nodes unharmed by each other", async () => {
    // The clients of the kind that spoke first have heard nothing of the other.
    assert.equal(clients.before[0].received("message").length, 2);
    for (const node of [...nodes.before, ...nodes.after]) {
      assert.equal(node.output.trim(), node.url);
      assert.ok(node.isRunning);
    }
  });

  it("survives clients that send no callback, or something else", async () => {
    for (const kind of kinds) {
      const [{ socket }] = clients[kind];
      for (const event of ["join", "members"]) {
        socket.emit(event, "another");
        socket.emit(event, "another", "no function");
      }
      assert.equal((await ask(clients[kind][0], "members", "another")).members.length, 1);
      nodes[kind].forEach((node) => assert.ok(node.isRunning, node.output));
    }
  });

  it("answers with the error while Redis is away, and goes on", async () => {
    redis.pause();
    try {
      const { socket } = clients.after[0];
      const { error } = await socket.timeout(20_000).emitWithAck("members", "room");
      assert.equal(typeof error, "string");
    } finally {
      redis.resume();
    }
    assert.ok(nodes.after[0].isRunning, nodes.after[0].output);
    await waitFor(
      async () => (await ask(clients.after[1], "members", "room")).members?.length === 2,
      {
        what: "the members again",
      },
    );
  });

  it("recovers clients after", async () => {
    const [leaving, other] = clients.after;
    await nodes.after[0].end();
    other.socket.emit("message", "room", "meanwhile");
    await leaving.reconnect(nodes.after[1].url);
    assert.equal(leaving.socket.recovered, true);
    assert.equal((await leaving.receives("message", 3))[2][0], "meanwhile");
  });

  it("ends when it is asked to", async () => {
    await Promise.all([...nodes.before, nodes.after[1]].map((node) => node.end()));
    await waitFor(async () => (await redis.connectionCount()) === 0, { what: "no connection" });
  });
});

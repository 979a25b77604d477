// examples/admin-ui: what the Admin UI, a Socket.IO client of one node, sees and does on three. Its
// numbers agree with what clients received, though the adapter hands encoded packets to Engine.IO.

"use strict";

const assert = require("node:assert/strict");
const { join } = require("node:path");
const { after, before, describe, it } = require("node:test");
const { startRedis } = require("../helpers/redis-server");
const { SocketClient, connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");
const { EXAMPLES, killAll, startExample } = require("./example");

const FOLDER = join(EXAMPLES, "admin-ui");
const PASSWORD = "of this test";
const MESSAGES = 50;

describe("examples/admin-ui", () => {
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  /** @type {Awaited<ReturnType<typeof startExample>>[]} */
  let nodes = [];
  /** One client of each node. @type {SocketClient[]} */
  let clients = [];
  /** The Admin UI, at the first node. @type {SocketClient} */
  let admin;

  before(async () => {
    redis = await startRedis();
    const options = { redisUrl: redis.url, env: { ADMIN_PASSWORD: PASSWORD } };
    nodes = await Promise.all([1, 2, 3].map(() => startExample(FOLDER, options)));
    clients = await Promise.all(nodes.map(({ url }) => connectClient(url)));
    admin = await connectAdmin(0, { username: "admin", password: PASSWORD });
  });

  after(async () => {
    [admin, ...clients].forEach((client) => client?.disconnect());
    await killAll(nodes);
    await redis?.stop();
  });

  /** @param {number} node @param {object} auth */
  function connectAdmin(node, auth) {
    const client = new SocketClient(nodes[node].url, { nsp: "/admin", auth });
    return client.connected();
  }

  /**
   * The statistics that a node has sent to the Admin UI, at two seconds' intervals.
   *
   * @param {number} node
   */
  function statsOf(node) {
    return admin
      .received("server_stats")
      .map(([stats]) => stats)
      .filter(({ serverId }) => serverId.endsWith(`:${nodes[node].port}`));
  }

  /** @param {number} node @param {string} type of event */
  function counted(node, type) {
    return statsOf(node)
      .flatMap(({ aggregatedEvents }) => aggregatedEvents)
      .filter((event) => event.type === type)
      .reduce((sum, { count }) => sum + count, 0);
  }

  /** Waits for statistics of a node that were made after now. @param {number} node */
  async function nextStats(node) {
    const seen = statsOf(node).length;
    // The next one may be on its way.
    await waitFor(() => statsOf(node).length >= seen + 2, { what: `statistics of node ${node}` });
  }

  it("refuses a wrong password", async () => {
    const refused = connectAdmin(1, { username: "admin", password: "wrong" });
    await assert.rejects(refused, /invalid credentials/);
  });

  it("shows the sockets of all nodes", async () => {
    const [[sockets]] = await admin.receives("all_sockets");
    const ids = sockets
      .filter((/** @type {any} */ { nsp }) => nsp === "/")
      .map((/** @type {any} */ { id }) => id);
    assert.deepEqual(ids.sort(), clients.map(({ id }) => id).sort());
  });

  it("shows each node by itself", async () => {
    await Promise.all([0, 1, 2].map(nextStats));
    for (const [i, node] of nodes.entries()) {
      const last = statsOf(i).at(-1);
      assert.equal(last.pid, node.pid);
      assert.equal(last.clientsCount, i === 0 ? 2 : 1);
      const main = last.namespaces.find((/** @type {any} */ { name }) => name === "/");
      assert.equal(main.socketsCount, 1);
    }
  });

  it("counts the packets and bytes that clients receive from other nodes", async () => {
    const [sender, receiver] = clients;
    const before = { packets: counted(1, "packetsOut"), bytes: counted(1, "bytesOut") };
    const received = { packets: 0, bytes: 0 };
    receiver.socket.io.engine.on("packet", ({ data }) => {
      received.packets++;
      received.bytes += Buffer.byteLength(data ?? "");
    });
    for (let i = 0; i < MESSAGES; i++) {
      sender.socket.emit("message", `é ${i}`);
    }
    await receiver.receives("message", MESSAGES);
    await nextStats(1);
    assert.equal(received.packets, MESSAGES);
    assert.equal(counted(1, "packetsOut") - before.packets, received.packets);
    assert.equal(counted(1, "bytesOut") - before.bytes, received.bytes);
  });

  it("shows what clients of all nodes send and receive", async () => {
    const [sender] = clients;
    sender.socket.emit("message", "look");
    /** @param {string} event */
    const looks = (event) =>
      admin.received(event).filter(([, , args]) => JSON.stringify(args).includes('"look"'));
    await waitFor(() => looks("event_received").length === 1 && looks("event_sent").length === 3, {
      what: "one event received, and three sent",
    });
    const receivers = looks("event_sent").map(([, id]) => id);
    assert.deepEqual(receivers.sort(), clients.map(({ id }) => id).sort());
  });

  it("moves and disconnects sockets of other nodes", async () => {
    const [first, second, third] = clients;
    admin.socket.emit("join", "/", "by-admin", third.id);
    await waitFor(
      () =>
        admin
          .received("room_joined")
          .some(([, room, id]) => room === "by-admin" && id === third.id),
      { what: "the room joined" },
    );
    admin.socket.emit("emit", "/", "by-admin", "hello", "members");
    assert.equal((await third.receives("hello"))[0][0], "members");
    assert.equal(first.received("hello").length, 0);

    admin.socket.emit("_disconnect", "/", false, second.id);
    await waitFor(() => !second.socket.connected, { what: "the client to be disconnected" });
    await waitFor(() => admin.received("socket_disconnected").some(([, id]) => id === second.id), {
      what: "the news of it",
    });
  });

  it("knows on other nodes who has logged in", async () => {
    const [[sessionId]] = await admin.receives("session");
    const again = await connectAdmin(2, { sessionId });
    await again.receives("all_sockets");
    again.disconnect();
  });

  it("ends when it is asked to, with clients connected", async () => {
    await Promise.all(nodes.map((node) => node.end()));
  });
});

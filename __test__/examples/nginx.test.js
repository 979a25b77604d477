// examples/nginx: three nodes behind nginx. Long-polling keeps to one node, and the clients of a
// node that ends or dies come back through nginx on another one.

"use strict";

const assert = require("node:assert/strict");
const { join } = require("node:path");
const { after, before, describe, it } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { liveKeyOf } = require("../helpers/recovery");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");
const { EXAMPLES, killAll, startExample } = require("./example");
const { startNginx } = require("./nginx-server");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const FOLDER = join(EXAMPLES, "nginx");
const QUICK_TO_RETURN = { reconnection: true, reconnectionDelay: 50, randomizationFactor: 0 };
/** Time between two messages (ms). */
const PACE = 5;
/** How many cookies are tried until one is for the wanted node. */
const ATTEMPTS = 50;

describe("examples/nginx", () => {
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  /** @type {Awaited<ReturnType<typeof startExample>>[]} */
  let nodes = [];
  /** @type {Awaited<ReturnType<typeof startNginx>>} */
  let nginx;
  /** @type {SocketClient[]} */
  let clients = [];

  before(async () => {
    redis = await startRedis();
    const redisUrl = redis.url;
    nodes = await Promise.all([1, 2, 3].map(() => startExample(FOLDER, { redisUrl })));
    nginx = await startNginx(nodes.map(({ port }) => port));
  });

  after(async () => {
    clients.forEach((client) => client.disconnect());
    await nginx?.stop();
    await killAll(nodes);
    await redis?.stop();
  });

  /** @param {object} options */
  async function connect(options) {
    const client = await connectClient(nginx.url, { ...QUICK_TO_RETURN, ...options });
    clients.push(client);
    return client;
  }

  /** @param {SocketClient} client @returns {Promise<string>} the port of its node */
  async function nodeOf(client) {
    const welcomes = await client.receives("welcome");
    return /** @type {any} */ (welcomes.at(-1))[0].port;
  }

  /**
   * A client with a cookie of its own, as a browser has it from its last visit.
   *
   * @param {{ port: number }} node that it is for
   * @param {string[]} transports
   */
  async function connectTo({ port }, transports) {
    for (let i = 0; i < ATTEMPTS; i++) {
      const extraHeaders = { cookie: `io_node=${transports[0]}-${i}` };
      const client = await connect({ transports, extraHeaders });
      if ((await nodeOf(client)) === String(port)) {
        return client;
      }
      client.disconnect();
    }
    throw new Error(`nginx sent nobody to ${port}`);
  }

  /** @param {SocketClient} client @returns {string[]} */
  function textsAt(client) {
    return client.received("message").map(([{ text }]) => text);
  }

  it("keeps long-polling clients on their nodes, which share all messages", async () => {
    const polling = { transports: ["polling"], withCredentials: true };
    const pollers = await Promise.all(Array.from({ length: 8 }, () => connect(polling)));
    const homes = await Promise.all(pollers.map(nodeOf));
    assert.ok(new Set(homes).size > 1, `all clients of one address on one node: ${homes}`);

    const expected = pollers.map((client, i) => [`hello ${i}`, homes[i]]);
    pollers.forEach((client, i) => client.socket.emit("message", `hello ${i}`));
    for (const client of pollers) {
      const messages = await client.receives("message", pollers.length);
      // from the node at which it said welcome: every request of a session went there
      assert.deepEqual(messages.map(([{ text, port }]) => [text, port]).sort(), expected);
      assert.equal(client.socket.io.engine.transport.name, "polling");
      client.disconnect();
    }
  });

  it("lets a session that began with long-polling go on as a WebSocket", async () => {
    const client = await connect({ transports: ["polling", "websocket"], withCredentials: true });
    await waitFor(() => client.socket.io.engine.transport.name === "websocket", {
      what: "the upgrade",
    });
    client.socket.emit("message", "upgraded");
    assert.equal((await client.receives("message"))[0][0].text, "upgraded");
    client.disconnect();
  });

  it("sets the cookie once", async () => {
    const handshake = `${nginx.url}/socket.io/?EIO=4&transport=polling`;
    const first = await fetch(handshake);
    const cookie = first.headers.get("set-cookie") ?? "";
    assert.match(cookie, /^io_node=\w{32}; /);
    const second = await fetch(handshake, { headers: { cookie: cookie.split(";")[0] } });
    assert.equal(second.status, 200);
    assert.equal(second.headers.get("set-cookie"), null);
  });

  it("gives clients of a node that ends what they missed, on another one", async () => {
    const [leaving, staying] = nodes;
    const [polling, websocket, other] = await Promise.all([
      connectTo(leaving, ["polling"]),
      connectTo(leaving, ["websocket"]),
      connectTo(staying, ["websocket"]),
    ]);
    let count = 0;
    const timer = setInterval(() => other.socket.emit("message", String(count++)), PACE);
    try {
      for (const client of [polling, websocket]) {
        await client.receives("message", 5);
      }
      await leaving.end();
      for (const client of [polling, websocket]) {
        await client.receives("welcome", 2);
        await client.receives("message", textsAt(client).length + 5);
      }
    } finally {
      clearInterval(timer);
    }
    other.socket.emit("message", "last");
    for (const client of [polling, websocket, other]) {
      await waitFor(() => textsAt(client).at(-1) === "last", { what: "the last message" });
    }
    const sent = textsAt(other);
    for (const client of [polling, websocket]) {
      const [, [welcome]] = client.received("welcome");
      assert.notEqual(welcome.port, String(leaving.port));
      assert.equal(welcome.recovered, true);
      const texts = textsAt(client);
      assert.deepEqual(texts, sent.slice(sent.indexOf(texts[0])));
    }
    [polling, websocket, other].forEach((client) => client.disconnect());
  });

  it("takes a node that is back", async () => {
    const { port } = nodes[0];
    nodes[0] = await startExample(FOLDER, { redisUrl: redis.url, port });
    await waitFor(
      () =>
        connectTo(nodes[0], ["polling"]).then(
          (client) => (client.disconnect(), true),
          () => false,
        ),
      { what: "a client on the node that is back" },
    );
  });

  it("brings clients of a node that was killed to another one", async () => {
    const [, killed, staying] = nodes;
    const [client, other] = await Promise.all([
      connectTo(killed, ["polling"]),
      connectTo(staying, ["websocket"]),
    ]);
    const admin = await createAdmin(redis);
    const { _pid: pid } = /** @type {any} */ (client.socket);
    await waitFor(() => admin.command("EXISTS", liveKeyOf(pid)), { what: "the session in Redis" });
    await admin.close();
    await killed.kill();
    const [, [welcome]] = await client.receives("welcome", 2);
    assert.notEqual(welcome.port, String(killed.port));
    assert.equal(welcome.recovered, true);
    other.socket.emit("message", "welcome back");
    await client.receives("message");
    client.disconnect();
    other.disconnect();
  });

  it("ends when it is asked to, with clients connected", async () => {
    const [first, , last] = nodes;
    await Promise.all([connectTo(first, ["polling"]), connectTo(last, ["websocket"])]);
    await Promise.all([first.end(), last.end()]);
  });
});

// examples/migrate-from-upstream: nodes of @socket.io/redis-streams-adapter are replaced one by one
// by the same program with this package under that name, while clients go on talking.

"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { tmpdir } = require("node:os");
const { dirname, join } = require("node:path");
const { after, before, describe, it } = require("node:test");
const { freePort, startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { settle, waitFor } = require("../helpers/wait");
const { EXAMPLES, ROOT, killAll, manifestOf, startExample } = require("./example");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const FOLDER = join(EXAMPLES, "migrate-from-upstream");
const OURS = "npm:socket.io-redis-streams-native@";
const QUICK_TO_RETURN = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 100 };
const NODES = 3;
/** Time between two messages of one client (ms). */
const PACE = 10;

/**
 * A copy of one half of the example, with its dependencies as npm would install them: what npm
 * makes of an alias is shown by __test__/package/install.test.js.
 *
 * @param {string} work
 * @param {string} half
 */
function install(work, half) {
  const folder = join(work, half);
  fs.cpSync(join(FOLDER, half), folder, { recursive: true });
  for (const [name, wanted] of Object.entries(manifestOf(folder).dependencies)) {
    const link = join(folder, "node_modules", name);
    fs.mkdirSync(dirname(link), { recursive: true });
    fs.symlinkSync(wanted.startsWith(OURS) ? ROOT : join(ROOT, "node_modules", name), link);
  }
  return folder;
}

describe("examples/migrate-from-upstream", () => {
  const work = fs.mkdtempSync(join(tmpdir(), "sio-migrate-"));
  const folders = { before: install(work, "before"), after: install(work, "after") };
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  /** @type {Awaited<ReturnType<typeof startExample>>[]} */
  const nodes = [];
  /** One client of each node. @type {SocketClient[]} */
  let clients = [];
  /** @type {NodeJS.Timeout | undefined} */
  let traffic;
  /** How many messages each client has sent. @type {number[]} */
  const sent = Array(NODES).fill(0);
  /** @type {number | undefined} */
  let quiet;

  before(async () => {
    redis = await startRedis();
    for (let i = 0; i < NODES; i++) {
      nodes[i] = await start("before", await freePort());
    }
    clients = await Promise.all(nodes.map(({ url }) => connectClient(url, QUICK_TO_RETURN)));
  });

  after(async () => {
    clearInterval(traffic);
    clients.forEach((client) => client.disconnect());
    await killAll(nodes);
    await redis?.stop();
    fs.rmSync(work, { recursive: true, force: true });
  });

  /** @param {keyof typeof folders} half @param {number} port */
  function start(half, port) {
    return startExample(folders[half], { redisUrl: redis.url, port });
  }

  /** Each client sends its next number, but the one that is about to lose its node. */
  function speak() {
    clients.forEach(({ socket }, i) => i !== quiet && socket.emit("message", [i, sent[i]++]));
  }

  /**
   * From now on a client only listens. What it sends right when its node ends may not be read by
   * that any more, which no adapter can change. And the old adapter delivers a node's own packets
   * out of the stream's order: a client whose last one is such a packet comes back with an offset
   * that lies before others that it has, and gets these twice.
   *
   * @param {number} client
   */
  async function hush(client) {
    quiet = client;
    const last = (/** @type {number[]} */ [sender, number]) =>
      sender === client && number === sent[client] - 1;
    await waitFor(() => textsAt(clients[client]).some(last), { what: "its last message" });
    const behind = textsAt(clients[client]).length + NODES;
    await clients[client].receives("message", behind);
  }

  /** What a client has received. @param {SocketClient} client @returns {[number, number][]} */
  function textsAt(client) {
    return client.received("message").map(([text]) => text);
  }

  async function allHaveAll() {
    const total = sent.reduce((sum, count) => sum + count, 0);
    for (const client of clients) {
      await client.receives("message", total);
    }
    // More than that would be doubles.
    await settle();
    for (const client of clients) {
      for (let i = 0; i < NODES; i++) {
        const numbers = textsAt(client)
          .filter(([sender]) => sender === i)
          .map(([, number]) => number);
        assert.deepEqual(numbers, [...Array(sent[i]).keys()], `from client ${i}`);
      }
    }
  }

  it("differs in one dependency only", () => {
    const [server, other] = ["before", "after"].map((half) =>
      fs.readFileSync(join(FOLDER, half, "server.js"), "utf8"),
    );
    assert.equal(server, other);
    const [before, after] = ["before", "after"].map((half) => manifestOf(join(FOLDER, half)));
    const { version } = manifestOf(ROOT);
    before.dependencies["@socket.io/redis-streams-adapter"] = `${OURS}^${version}`;
    assert.deepEqual(before, after);
  });

  it("carries messages before", async () => {
    speak();
    await allHaveAll();
  });

  it("loses no packet while the nodes are replaced one by one", async () => {
    traffic = setInterval(speak, PACE);
    for (let i = 0; i < NODES; i++) {
      const client = clients[i];
      const { port } = nodes[i];
      await hush(i);
      await nodes[i].end();
      const connected = waitFor(() => client.socket.connected, { timeout: 20_000 });
      nodes[i] = await start("after", port);
      await connected;
      assert.equal(client.socket.recovered, true, `client ${i}`);
      quiet = undefined;
      // All three talk in this mixture.
      const counts = clients.map((each) => textsAt(each).length + 5 * NODES);
      await Promise.all(clients.map((each, j) => each.receives("message", counts[j])));
    }
    clearInterval(traffic);
    await allHaveAll();
  });

  it("goes on after, and ends when it is asked to", async () => {
    speak();
    await allHaveAll();
    await Promise.all(nodes.map((node) => node.end()));
    // Nothing but the address: no warning, no error.
    nodes.forEach((node) => assert.equal(node.output.trim(), node.url));
  });
});

// examples/cluster: workers behind one port, where @socket.io/sticky keeps sessions to their worker;
// two such machines over one Redis.

"use strict";

const assert = require("node:assert/strict");
const { join } = require("node:path");
const { after, before, describe, it } = require("node:test");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");
const { EXAMPLES, killAll, startExample } = require("./example");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const FOLDER = join(EXAMPLES, "cluster");
const WORKERS = 3;
/** Of the clients in turn. None begins with a WebSocket: see the example's README. */
const TRANSPORTS = [["polling"], ["polling", "websocket"]];
/** The first client that gets a WebSocket. */
const UPGRADING = 1;
/**
 * What sticky sends to a worker in the moment of its death gets lost: the client tries again after
 * `timeout`.
 */
const QUICK_TO_RETURN = { reconnection: true, reconnectionDelay: 100, timeout: 2_000 };

/** @param {SocketClient} client @returns {Promise<number>} the worker that it is at */
async function workerOf(client) {
  const welcomes = await client.receives("welcome");
  return /** @type {any} */ (welcomes.at(-1))[0].pid;
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe("examples/cluster", () => {
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  /** @type {Awaited<ReturnType<typeof startExample>>[]} */
  let machines = [];
  /** @type {SocketClient[]} */
  let clients = [];

  before(async () => {
    redis = await startRedis();
    const options = { redisUrl: redis.url, env: { WORKERS: String(WORKERS) } };
    machines = await Promise.all([1, 2].map(() => startExample(FOLDER, options)));
  });

  after(async () => {
    clients.forEach((client) => client.disconnect());
    await killAll(machines);
    await redis?.stop();
  });

  /**
   * @param {number} machine
   * @param {string[]} transports
   */
  async function connect(machine, transports) {
    const client = await connectClient(machines[machine].url, { ...QUICK_TO_RETURN, transports });
    clients.push(client);
    return client;
  }

  it("spreads clients over the workers, and carries messages to all of two machines", async () => {
    // One after the other, since sticky counts the connections that workers have told it of.
    for (const machine of [0, 1]) {
      for (let i = 0; i < 2 * WORKERS; i++) {
        await workerOf(await connect(machine, TRANSPORTS[i % TRANSPORTS.length]));
      }
    }
    const workers = await Promise.all(clients.map(workerOf));
    assert.ok(new Set(workers).size >= WORKERS, `${workers}`);

    clients.forEach((client, i) => client.socket.emit("message", `from ${i}`));
    const expected = clients.map((client, i) => [`from ${i}`, workers[i]]).sort();
    for (const client of clients) {
      const messages = await client.receives("message", clients.length);
      assert.deepEqual(messages.map(([{ text, pid }]) => [text, pid]).sort(), expected);
    }
  });

  it("starts a worker in place of one that died, whose clients come back", async () => {
    // A poll that sticky is passing to a worker that dies gets lost, and the client notices that only at
    // its ping timeout. The connection of a WebSocket is the worker's own.
    const client = clients[UPGRADING];
    const { engine } = client.socket.io;
    await waitFor(() => engine.transport.name === "websocket", { what: "the upgrade" });
    const dead = await workerOf(client);
    process.kill(dead, "SIGKILL");
    await client.receives("welcome", 2);
    assert.notEqual(await workerOf(client), dead);
    assert.match(machines[0].output, new RegExp(`worker ${dead} died`));
  });

  it("ends with its workers when it is asked to, with clients connected", async () => {
    const workers = await Promise.all(clients.map(workerOf));
    await machines[1].end();
    await machines[0].end();
    await waitFor(() => !workers.some(isAlive), { what: "the end of the workers" });
  });
});

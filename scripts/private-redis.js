"use strict";
// Starts a Redis for one run, on a free port of this machine only, with its data in a temporary folder.
// Every write that it has acknowledged survives a restart.

const { spawn } = require("node:child_process");
const { once } = require("node:events");
const { mkdtempSync, rmSync } = require("node:fs");
const { connect, createServer } = require("node:net");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { setTimeout: sleep } = require("node:timers/promises");

const { ScriptError } = require("./run");

const HOST = "127.0.0.1";
/** How long Redis may take to answer its first PING (ms). */
const START_LIMIT = 10_000;

/** @returns {Promise<number>} */
async function freePort() {
  const server = createServer().listen(0, HOST);
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  server.close();
  await once(server, "close");
  return port;
}

/**
 * @param {number} port
 * @returns {Promise<boolean>}
 */
function answersPing(port) {
  return new Promise((resolve) => {
    const socket = connect(port, HOST, () => socket.write("PING\r\n"));
    socket.on("data", (data) => {
      socket.destroy();
      resolve(data.toString().startsWith("+PONG"));
    });
    socket.on("error", () => resolve(false));
    socket.on("close", () => resolve(false));
  });
}

/**
 * @param {string} program the path of a redis-server
 * @param {number} port
 * @param {string} folder for its data
 */
function spawnRedis(program, port, folder) {
  const settings = { port, bind: HOST, dir: folder, save: "", appendonly: "yes" };
  const args = Object.entries({ ...settings, appendfsync: "always" }).flatMap(([name, value]) => [
    `--${name}`,
    String(value),
  ]);
  // Detached: otherwise Ctrl-C would end it while the nodes still use it to close.
  const child = spawn(program, args, { detached: true, stdio: ["ignore", "pipe", "inherit"] });
  const server = { running: true, log: "", ended: Promise.resolve(), stop };
  function stop() {
    child.kill();
  }
  child.stdout.on("data", (data) => (server.log = (server.log + data).slice(-10_000)));
  process.on("exit", stop);
  server.ended = new Promise((resolve) => {
    child.on("error", resolve);
    child.on("exit", resolve);
  }).then(() => {
    server.running = false;
    process.off("exit", stop);
  });
  return server;
}

class PrivateRedis {
  #program;
  #port;
  #folder = mkdtempSync(join(tmpdir(), "sio-redis-"));
  /** @type {ReturnType<typeof spawnRedis>} */
  #server;
  #expectsEnd = false;

  /**
   * @param {string} program the path of a redis-server
   * @param {number} port
   */
  constructor(program, port) {
    this.#program = program;
    this.#port = port;
    this.#server = this.#spawn();
    process.on("exit", this.#removeFolder);
  }

  get url() {
    return `redis://${HOST}:${this.#port}`;
  }

  #removeFolder = () => rmSync(this.#folder, { recursive: true, force: true });

  #spawn() {
    const server = spawnRedis(this.#program, this.#port, this.#folder);
    server.ended.then(() => {
      if (!this.#expectsEnd) {
        console.error("Redis ended: each node is on its own now");
      }
    });
    return server;
  }

  async untilReady() {
    const deadline = Date.now() + START_LIMIT;
    let answers = false;
    while (!answers) {
      await sleep(20);
      answers = await answersPing(this.#port);
      // Checked even if something answers: another server may have taken the port a moment earlier.
      if (!this.#server.running || Date.now() > deadline) {
        const words = `${this.#program} did not start on port ${this.#port}`;
        throw new ScriptError(`${words}:\n${this.#server.log}`);
      }
    }
  }

  /**
   * Ends it, and starts it again with the same data.
   *
   * @param {number} pause time between the end and the start (ms)
   */
  async restart(pause) {
    this.#expectsEnd = true;
    this.#server.stop();
    await this.#server.ended;
    await sleep(pause);
    this.#expectsEnd = false;
    this.#server = this.#spawn();
    await this.untilReady();
  }

  async stop() {
    this.#expectsEnd = true;
    this.#server.stop();
    await this.#server.ended;
    process.off("exit", this.#removeFolder);
    this.#removeFolder();
  }
}

/**
 * @param {string} program the path of a redis-server
 * @returns {Promise<PrivateRedis>}
 */
async function startPrivateRedis(program) {
  const redis = new PrivateRedis(program, await freePort());
  try {
    await redis.untilReady();
  } catch (error) {
    await redis.stop();
    throw error;
  }
  return redis;
}

module.exports = { startPrivateRedis };

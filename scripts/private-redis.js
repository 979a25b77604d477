"use strict";
// A Redis for one run: on a free port of this machine only, nothing kept on disk.

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
 */
function spawnRedis(program, port) {
  const folder = mkdtempSync(join(tmpdir(), "sio-redis-"));
  const settings = { port, bind: HOST, dir: folder, save: "", appendonly: "no" };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  // Detached, or Ctrl-C would end it together with the nodes that still use it while they close.
  const child = spawn(program, args, { detached: true, stdio: ["ignore", "pipe", "inherit"] });
  const state = { running: true, log: "" };
  child.stdout.on("data", (data) => (state.log += data));
  const stop = () => {
    child.kill();
  };
  process.on("exit", stop);
  const ended = new Promise((resolve) => {
    child.on("error", resolve);
    child.on("exit", resolve);
  }).then(() => {
    state.running = false;
    process.off("exit", stop);
    rmSync(folder, { recursive: true, force: true });
  });
  return { state, ended, stop };
}

/**
 * @param {string} program the path of a redis-server
 * @returns {Promise<{ url: string, ended: Promise<void>, stop(): void }>}
 */
async function startPrivateRedis(program) {
  const port = await freePort();
  const { state, ended, stop } = spawnRedis(program, port);
  const deadline = Date.now() + START_LIMIT;
  let answers = false;
  while (!answers) {
    await sleep(20);
    answers = await answersPing(port);
    // Also when something answers: a server that took the port a moment earlier is not ours.
    if (!state.running || Date.now() > deadline) {
      throw new ScriptError(`${program} did not start on port ${port}:\n${state.log}`);
    }
  }
  return { url: `redis://${HOST}:${port}`, ended, stop };
}

module.exports = { startPrivateRedis };

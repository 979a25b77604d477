"use strict";
// `npm start`: the chat of examples/chat on three nodes over one Redis, from a fresh clone too.

const { fork } = require("node:child_process");
const { once } = require("node:events");
const { join } = require("node:path");

const { ROOT, ScriptError, main } = require("./run");
const { installPackages } = require("./setup");
const { installProgram } = require("./system-package");
const { build } = require("./build");
const { startPrivateRedis } = require("./private-redis");

const SERVER = join(ROOT, "examples", "chat", "server.js");
const NODES = ["node-1", "node-2", "node-3"];
/** How long a node may take to close before it is killed (ms). */
const CLOSE_LIMIT = 10_000;

/** How often to look whether npm is still there (ms). */
const PARENT_INTERVAL = 500;

/** @returns {Promise<unknown>} settled by Ctrl-C, or by whatever else asks this process to end */
function untilAskedToEnd() {
  return new Promise((resolve) => {
    // `on`, since a second signal must not cut the closing short.
    ["SIGINT", "SIGTERM", "SIGHUP"].forEach((signal) => process.on(signal, resolve));
    // A signal for npm alone ends only npm and the shell between it and this process.
    if (process.env.npm_lifecycle_event) {
      const parent = process.ppid;
      setInterval(() => process.ppid === parent || resolve(undefined), PARENT_INTERVAL).unref();
    }
  });
}

/** @param {string} url */
function withoutPassword(url) {
  return url.replace(/(:\/\/[^/@]*:).*@/, "$1***@");
}

/**
 * @param {string} name
 * @param {number} port
 * @param {string} redisUrl
 */
function startNode(name, port, redisUrl) {
  const child = fork(SERVER, {
    env: { ...process.env, NODE_NAME: name, PORT: String(port), REDIS_URL: redisUrl },
  });
  let closing = false;
  const ended = once(child, "exit").then(([code, signal]) => {
    if (!closing) {
      console.error(`${name} died (${signal ?? `exit code ${code}`})`);
    }
  });
  /** @type {Promise<string>} */
  const address = new Promise((resolve, reject) => {
    child.once("message", (message) => resolve(String(message)));
    child.once("exit", () => reject(new ScriptError(`${name} did not start`)));
  });

  async function close() {
    closing = true;
    // The node takes the end of this channel for its signal to close.
    if (child.connected) {
      child.disconnect();
    }
    const killer = setTimeout(() => {
      console.error(`${name} did not close in ${CLOSE_LIMIT / 1_000} s and was killed`);
      child.kill("SIGKILL");
    }, CLOSE_LIMIT);
    await ended;
    clearTimeout(killer);
  }

  return { name, address, ended, close };
}

/**
 * @param {string} redisUrl
 * @param {Promise<unknown>} askedToEnd
 */
async function runNodes(redisUrl, askedToEnd) {
  const firstPort = Number(process.env.PORT ?? 3000);
  const nodes = NODES.map((name, i) => startNode(name, firstPort && firstPort + i, redisUrl));
  try {
    const started = Promise.all(nodes.map(({ address }) => address)).then((addresses) => {
      console.log(`\nRedis   ${withoutPassword(redisUrl)}`);
      nodes.forEach(({ name }, i) => console.log(`${name}  ${addresses[i]}`));
      console.log(
        "\nOpen two of them: what is written on one node is read on all. Ctrl-C ends it.",
      );
    });
    const allEnded = Promise.all(nodes.map(({ ended }) => ended)).then(() => {
      throw new ScriptError("No node is left");
    });
    await Promise.race([Promise.all([started, askedToEnd]), askedToEnd, allEnded]);
  } finally {
    await Promise.all(nodes.map((node) => node.close()));
  }
}

main(async () => {
  installPackages();
  build();
  if (process.env.REDIS_URL) {
    return runNodes(process.env.REDIS_URL, untilAskedToEnd());
  }

  const redisServer = installProgram("redis");
  const askedToEnd = untilAskedToEnd();
  const redis = await startPrivateRedis(redisServer);
  let closing = false;
  redis.ended.then(() => {
    if (!closing) {
      console.error("Redis ended: each node is on its own now");
    }
  });
  try {
    await runNodes(redis.url, askedToEnd);
  } finally {
    closing = true;
    redis.stop();
    await redis.ended;
  }
});

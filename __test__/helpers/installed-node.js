// Nodes that run in a project of their own, as a user's would: installed, bundled or compiled.

"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { guard } = require("./guard");
const { env } = require("./packages");
const { connectClient } = require("./socket-client");
const { waitFor, within } = require("./wait");

const BODY = `
const io = new Server(0, { adapter: createAdapter(process.env.REDIS_URL) });
io.on("connection", (socket) => {
  socket.on("say", (words) => io.emit("said", words));
});
io.httpServer.on("listening", () => console.log("port " + io.httpServer.address().port));
process.stdin.on("end", () => io.close()).resume();
`;

/**
 * A node that ends when its input does.
 *
 * @param {"cjs" | "mjs"} format
 * @param {string} name by which the package was installed
 */
function sourceOf(format, name) {
  return format === "cjs"
    ? `const { Server } = require("socket.io");
const { createAdapter } = require("${name}");
${BODY}`
    : `import { Server } from "socket.io";
import { createAdapter } from "${name}";
${BODY}`;
}

/**
 * @typedef {object} Command
 * @property {string} cwd
 * @property {string} program
 * @property {string[]} args
 * @property {number} [uid] of the user and the group that it runs as
 */

/** @param {Command} command @param {string} redisUrl */
function startNode({ cwd, program, args, uid }, redisUrl) {
  const user = uid === undefined ? {} : { uid, gid: uid };
  const child = spawn(program, args, { cwd, env: { ...env, REDIS_URL: redisUrl }, ...user });
  const release = guard(child);
  const exited = new Promise((resolve) => child.once("exit", resolve));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => (output += text));
  }
  return {
    async url() {
      const port = await waitFor(
        () => {
          assert.equal(child.exitCode, null, output);
          return /^port (\d+)$/m.exec(output)?.[1];
        },
        // Plug'n'Play unpacks what it loads.
        { timeout: 30_000, what: () => `the port in: ${output}` },
      );
      return `http://127.0.0.1:${port}`;
    },
    /** Ends by itself once its server is closed. */
    async close() {
      child.stdin.end();
      assert.equal(await within(exited, "the node's end"), 0, output);
    },
    kill() {
      child.kill("SIGKILL");
      release();
    },
  };
}

/**
 * Starts two nodes, and shows that a message crosses in each direction, and that both end by
 * themselves.
 *
 * @param {Command[]} commands
 * @param {string} redisUrl
 */
async function crossMessages(commands, redisUrl) {
  const nodes = commands.map((command) => startNode(command, redisUrl));
  try {
    const [a, b] = await Promise.all(nodes.map(async (node) => connectClient(await node.url())));
    a.socket.emit("say", "from a");
    await b.receives("said");
    b.socket.emit("say", "from b");
    const words = (await a.receives("said", 2)).map(([said]) => said);
    assert.deepEqual(words, ["from a", "from b"]);
    a.disconnect();
    b.disconnect();
    await Promise.all(nodes.map((node) => node.close()));
  } finally {
    nodes.forEach((node) => node.kill());
  }
}

module.exports = { crossMessages, sourceOf, startNode };

// The nodes of an example, started by the command in its package.json, as a user starts them.

"use strict";

const assert = require("node:assert/strict");
const { execFileSync, spawn } = require("node:child_process");
const { readFileSync } = require("node:fs");
const { delimiter, join } = require("node:path");
const { guard } = require("../helpers/guard");
const { freePort } = require("../helpers/redis-server");
const { waitFor, within } = require("../helpers/wait");

const ROOT = join(__dirname, "..", "..");
const EXAMPLES = join(ROOT, "examples");
/** Loading a framework and its types takes a while on a busy machine (ms). */
const START_LIMIT = 30_000;
const END_LIMIT = 15_000;
const BUILD_LIMIT = 60_000;

/** npm puts the programs of the packages on PATH. */
const PATH = [join(ROOT, "node_modules", ".bin"), process.env.PATH].join(delimiter);

/**
 * @param {string} folder
 * @returns {Record<string, any>} its package.json
 */
function manifestOf(folder) {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
}

/**
 * @param {string} folder
 * @param {string} script in its package.json
 * @returns {string} the command
 */
function commandOf(folder, script) {
  const command = manifestOf(folder).scripts[script];
  assert.ok(command, `package.json of ${folder} has the script "${script}"`);
  return command;
}

/**
 * @param {string} folder
 * @returns {string | false} why the example cannot run on this Node.js
 */
function cannotRun(folder) {
  const least = Number(/\d+/.exec(manifestOf(folder).engines?.node ?? "0")?.[0]);
  const [major] = process.versions.node.split(".").map(Number);
  return major < least && `needs Node.js ${least}`;
}

/** @param {string} folder with the script "build" */
function build(folder) {
  const options = { cwd: folder, env: { ...process.env, PATH }, timeout: BUILD_LIMIT };
  try {
    execFileSync("sh", ["-c", commandOf(folder, "build")], { ...options, stdio: "pipe" });
  } catch (error) {
    assert.fail(`the build of ${folder} failed:\n${/** @type {any} */ (error).stdout}`);
  }
}

class ExampleNode {
  /**
   * @param {string} folder
   * @param {string} command
   * @param {number} port
   * @param {NodeJS.ProcessEnv} env
   */
  constructor(folder, command, port, env) {
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.output = "";
    // Only what the example's README names says where it listens.
    const { HOST, ...inherited } = process.env;
    // As npm does. A command that leaves the shell between keeps SIGTERM from its node.
    this.child = spawn("sh", ["-c", command], {
      cwd: folder,
      env: { ...inherited, PATH, PORT: String(port), ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.release = guard(this.child);
    /** @type {Promise<[number | null, NodeJS.Signals | null]>} */
    this.exited = new Promise((resolve) => {
      // `close` and not `exit`: the output is complete.
      this.child.once("close", (code, signal) => resolve([code, signal]));
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (this.output += text));
    }
  }

  get pid() {
    return /** @type {number} */ (this.child.pid);
  }

  async started() {
    try {
      await waitFor(
        () => {
          assert.ok(this.isRunning, `it ended:\n${this.output}`);
          return this.output.includes(this.url);
        },
        { timeout: START_LIMIT, what: () => `${this.url} in:\n${this.output}` },
      );
      assert.doesNotMatch(this.output, /SocketIORedisWarning/, "what users copy warns of nothing");
    } catch (error) {
      // Nobody else has this node yet, and the test would never end.
      await this.kill();
      throw error;
    }
    return this;
  }

  get isRunning() {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Ends it as a process manager does; it has to end by itself, and well. */
  async end() {
    this.child.kill("SIGTERM");
    const end = await within(this.exited, `the end of ${this.url}`, END_LIMIT).catch((error) => {
      throw new Error(`${error.message}, which wrote:\n${this.output}`);
    });
    this.release();
    assert.deepEqual(end, [0, null], this.output);
  }

  /** Ends it as a crash does. */
  async kill() {
    this.child.ref(); // or nothing might be left to wait for, and the process would end here
    this.child.kill("SIGKILL");
    await this.exited;
    this.release();
  }
}

/**
 * @param {string} folder
 * @param {object} options
 * @param {string} [options.script] in its package.json
 * @param {number} [options.port]
 * @param {string} options.redisUrl
 * @param {NodeJS.ProcessEnv} [options.env]
 */
async function startExample(folder, { script = "start", port, redisUrl, env }) {
  const command = commandOf(folder, script);
  const at = port ?? (await freePort());
  return new ExampleNode(folder, command, at, { REDIS_URL: redisUrl, ...env }).started();
}

/**
 * Ends what a test has left, failed or not.
 *
 * @param {(ExampleNode | undefined)[]} nodes
 */
async function killAll(nodes) {
  await Promise.all(nodes.map((node) => node?.isRunning && node.kill()));
}

module.exports = {
  EXAMPLES,
  ROOT,
  ExampleNode,
  build,
  cannotRun,
  killAll,
  manifestOf,
  startExample,
};

// `npm start` as a user runs it, with the processes below it.

"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { readFileSync, readdirSync } = require("node:fs");
const { join } = require("node:path");
const { guard } = require("./guard");
const { connectClient } = require("./socket-client");
const { waitFor, within } = require("./wait");

/** Setting up is part of `npm start`: it looks at the npm packages and at the engine's sources. */
const START_LIMIT = 60_000;
const NODES = ["node-1", "node-2", "node-3"];

/**
 * The processes below one, by /proc.
 *
 * @param {number} ancestor
 * @returns {number[]}
 */
function descendants(ancestor) {
  /** @type {Map<number, number>} */
  const parents = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      // The program's name, in parentheses, may hold anything; the parent is the second word after.
      const [, parent] = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/.*\) /s, "").split(" ");
      parents.set(Number(pid), Number(parent));
    } catch {
      // ended meanwhile
    }
  }
  const found = [ancestor];
  for (const each of found) {
    found.push(...[...parents].filter(([, parent]) => parent === each).map(([pid]) => pid));
  }
  return found.slice(1);
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

class NpmStart {
  /** @param {NodeJS.ProcessEnv} env */
  constructor(env) {
    const { REDIS_URL, HOST, ...inherited } = process.env;
    this.output = "";
    /** By the node's name, once started. @type {Record<string, string>} */
    this.addresses = {};
    // A group of its own, as a terminal makes for each command: Ctrl-C signals the whole of it.
    this.child = spawn("npm", ["start"], {
      cwd: join(__dirname, "..", ".."),
      env: { ...inherited, PORT: "0", ...env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    this.release = guard(this.child);
    this.exited = new Promise((resolve) => this.child.once("exit", resolve));
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (this.output += text));
    }
  }

  get pid() {
    return /** @type {number} */ (this.child.pid);
  }

  /** Waits until it printed the addresses. */
  async started() {
    this.addresses = await waitFor(
      () => {
        assert.equal(this.child.exitCode, null, this.output);
        const found = [...this.output.matchAll(/^(node-\d) +(http:\/\/\S+)$/gm)];
        return found.length === NODES.length && Object.fromEntries(found.map((m) => m.slice(1)));
      },
      { timeout: START_LIMIT, what: () => `three addresses in:\n${this.output}` },
    );
    return this;
  }

  /** The private Redis's URL, or yours without the password. */
  get redisUrl() {
    return /^Redis +(\S+)$/m.exec(this.output)?.[1] ?? "";
  }

  /** @param {string} words */
  async says(words) {
    await waitFor(() => this.output.includes(words), {
      what: () => `"${words}" in:\n${this.output}`,
    });
  }

  /**
   * @param {string} name of a node
   * @param {object} [auth]
   * @param {object} [options]
   */
  client(name, auth, options) {
    return connectClient(this.addresses[name], { auth, ...options });
  }

  /** @param {string} name of a node */
  pidOf(name) {
    const pid = descendants(this.pid).find((candidate) =>
      readFileSync(`/proc/${candidate}/environ`, "utf8").split("\0").includes(`NODE_NAME=${name}`),
    );
    assert(pid, `no process of ${name}`);
    return pid;
  }

  /** Ends it as Ctrl-C does, and shows that nothing is left. */
  async interrupt() {
    const processes = descendants(this.pid);
    process.kill(-this.pid, "SIGINT");
    await this.ended(processes);
  }

  /** For a test that failed: ends whatever is left of it. */
  kill() {
    for (const pid of [...descendants(this.pid), -this.pid]) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // ended already
      }
    }
  }

  /** @param {number[]} processes that must be gone as well */
  async ended(processes) {
    await within(this.exited, `the end of npm start, which wrote:\n${this.output}`, 15_000);
    this.release();
    await waitFor(() => !processes.some(isAlive), {
      what: () => `the end of the processes ${processes.filter(isAlive)}`,
    });
  }
}

/** @param {NodeJS.ProcessEnv} [env] */
function npmStart(env = {}) {
  return new NpmStart(env).started();
}

/** Why the tests that use it are skipped here, if they are. */
const skip = process.platform === "linux" ? false : "finds the processes in /proc";

module.exports = { NODES, NpmStart, descendants, npmStart, skip };

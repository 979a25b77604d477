// A Socket.IO node in a process of a runtime that is tested: node-main.js, told over its stdin.

"use strict";

const { execFile, spawn } = require("node:child_process");
const { createInterface } = require("node:readline");
const { promisify } = require("node:util");
const { guard } = require("../helpers/guard");
const { waitFor, within } = require("../helpers/wait");

/** @typedef {import("../../scripts/runtimes").Runtime} Runtime */

/**
 * @typedef {object} RuntimeNodeOptions
 * @property {string} name its answers name it by this
 * @property {string} file of the project that it runs
 * @property {"url" | "settings" | "redis" | "ioredis"} connection what its adapter is given
 * @property {string | object} redis its URL, or settings
 */

/** What would change what a node writes, or what runs in it. */
const { DEBUG, NODE_OPTIONS, NODE_TEST_CONTEXT, ...ENVIRONMENT } = process.env;

/** Deno asks its server for a newer version now and then, and says so on stderr. */
const env = { ...ENVIRONMENT, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" };

/**
 * Runs a script of the project to its end, which it has to come to by itself.
 *
 * @param {Runtime} runtime
 * @param {string} project folder
 * @param {string} file
 * @param {string[]} args
 * @returns {Promise<string>} what it has written to stdout and stderr
 */
async function runScript({ program, args: first }, project, file, args) {
  const options = {
    cwd: project,
    env,
    timeout: 10_000,
    killSignal: /** @type {const} */ ("SIGKILL"),
  };
  const { stdout, stderr } = await promisify(execFile)(program, [...first, file, ...args], options);
  return stdout + stderr;
}

class RuntimeNode {
  /**
   * @param {Runtime} runtime
   * @param {string} project folder
   * @param {RuntimeNodeOptions} options
   */
  constructor({ program, args, server }, project, { file, ...options }) {
    const argument = { ...options, server };
    this.name = argument.name;
    this.port = 0;
    this.pid = 0;
    /** What it says that it runs in. @type {Record<string, string>} */
    this.versions = {};
    this.errors = "";
    /** @type {{ name: string, code: string, message: string }[]} what the process was warned of */
    this.warnings = [];
    /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
    this.calls = new Map();
    this.nextCall = 0;
    this.child = spawn(program, [...args, file, JSON.stringify(argument)], {
      cwd: project,
      env,
    });
    const release = guard(this.child);
    this.child.stderr.setEncoding("utf8").on("data", (text) => (this.errors += text));
    createInterface(this.child.stdout).on("line", (line) => this.#hear(line));
    /** @type {Promise<number | string | null>} */
    this.ended = new Promise((resolve) => {
      this.child.once("error", (error) => (this.errors += error));
      this.child.once("close", (code, signal) => {
        release();
        const error = new Error(`${this.name} has ended (${signal ?? code}): ${this.errors}`);
        this.calls.forEach(({ reject }) => reject(error));
        this.calls.clear();
        resolve(signal ?? code);
      });
    });
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** @param {string} line */
  #hear(line) {
    if (!line.startsWith("{")) {
      this.errors += `on stdout: ${line}\n`;
      return;
    }
    const message = JSON.parse(line);
    if (message.warning !== undefined) {
      this.warnings.push(message.warning);
    } else if (message.call === undefined) {
      Object.assign(this, message);
    } else {
      const call = this.calls.get(message.call);
      this.calls.delete(message.call);
      if (message.error !== undefined) {
        call?.reject(new Error(`${this.name}: ${message.error}`));
      } else {
        call?.resolve(message.result);
      }
    }
  }

  async started() {
    let ended = false;
    this.ended.then(() => (ended = true));
    await waitFor(() => this.port !== 0 || ended, {
      what: () => `${this.name} to listen; its output:\n${this.errors}`,
    });
    if (ended) {
      throw new Error(`${this.name} has ended at once: ${this.errors}`);
    }
    return this;
  }

  /**
   * Has the process do something; see `actionsOf` in node-main.js.
   *
   * @param {string} action
   * @param {...any} args
   * @returns {Promise<any>}
   */
  call(action, ...args) {
    const call = this.nextCall++;
    const promise = new Promise((resolve, reject) => this.calls.set(call, { resolve, reject }));
    promise.catch(() => {}); // it may end with calls open
    this.child.stdin.write(`${JSON.stringify({ call, action, args })}\n`);
    return within(promise, `${this.name} to ${action}`, 20_000);
  }

  /**
   * Has it close its server; nothing tells it to end.
   *
   * @returns {Promise<number | string | null>} its exit code, or the signal that ended it
   */
  close() {
    this.child.stdin.end();
    this.child.ref();
    return within(this.ended, `${this.name} to end by itself`, 10_000);
  }

  kill() {
    this.child.kill("SIGKILL");
  }
}

module.exports = { RuntimeNode, runScript };

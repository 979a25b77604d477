// A program that is run as a process of its own, to see what it says and how it ends.

"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { guard } = require("../helpers/guard");
const { within } = require("../helpers/wait");
const { defer } = require("./defer");

class Run {
  /**
   * @param {string} script
   * @param {string[]} args
   * @param {Record<string, string>} [env] beside this process's
   */
  constructor(script, args, env) {
    this.output = "";
    this.child = spawn(process.execPath, [script, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    this.child.stdout.on("data", (data) => (this.output += data));
    this.child.stderr.on("data", (data) => (this.output += data));
    const release = guard(this.child);
    this.child.ref();
    this.exited = new Promise((resolve) =>
      this.child.once("close", (code, signal) => {
        release();
        resolve(code ?? signal);
      }),
    );
  }

  get isRunning() {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** @param {import("node:test").TestContext} t */
  endWith(t) {
    defer(t, () => this.child.kill("SIGKILL"));
    return this;
  }

  /**
   * @param {number} [code] with which it ends by itself
   * @param {number} [timeout] in ms
   */
  async assertExits(code = 0, timeout) {
    const ended = await within(this.exited, "the process to end by itself", timeout);
    assert.equal(ended, code, this.output);
    return this;
  }
}

module.exports = { Run };

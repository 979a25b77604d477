// A private redis-server for a test: on a free port of 127.0.0.1, in a temporary directory, gone
// with the test.

"use strict";

const { spawn } = require("node:child_process");
const { closeSync, mkdtempSync, openSync, readFileSync, rmSync } = require("node:fs");
const net = require("node:net");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { SERVER } = require("./configuration");
const { guard } = require("./guard");
const { waitFor } = require("./wait");

const START_ATTEMPTS = 5;
/** On a busy machine, 100 MB of data take more than 10 s to load. */
const START_TIMEOUT = 60_000;
/** How long the connections of closed adapters may take to go before the server stops. */
const DRAIN_TIMEOUT = 2_000;

/**
 * @typedef {object} RedisServerOptions
 * @property {string} [password] `requirepass`
 * @property {boolean} [unixSocket] listen on a unix socket as well (see `socketPath`)
 * @property {boolean} [appendOnly] keep the data over `restart()`
 * @property {string[]} [args] further arguments of redis-server
 * @property {Record<string, string>} [env] further variables of its environment
 * @property {string} [binary] the server to start, default REDIS_SERVER (configuration.js)
 */

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = /** @type {net.AddressInfo} */ (server.address());
      server.close(() => resolve(port));
    });
  });
}

/**
 * Sends inline commands over a connection of its own, and reads until `pattern` is there.
 *
 * @param {number} port
 * @param {string[]} commands
 * @param {RegExp} pattern
 * @returns {Promise<RegExpExecArray>}
 */
function ask(port, commands, pattern) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, "127.0.0.1");
    let received = "";
    socket.setTimeout(1_000, () => socket.destroy(new Error("no reply")));
    socket.on("connect", () => socket.write(commands.map((line) => `${line}\r\n`).join("")));
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`closed after ${JSON.stringify(received)}`)));
    socket.on("data", (data) => {
      received += data;
      const match = pattern.exec(received);
      if (match) {
        resolve(match);
        socket.destroy();
      }
    });
  });
}

class RedisServer {
  /** @param {RedisServerOptions} options */
  constructor(options) {
    this.options = options;
    this.port = 0;
    this.host = "127.0.0.1";
    this.directory = mkdtempSync(join(tmpdir(), "sio-redis-"));
    /** @type {import("node:child_process").ChildProcess | undefined} */
    this.child = undefined;
    /** @type {() => void} */
    this.release = () => {};
    /** @type {Promise<void>} */
    this.exited = Promise.resolve();
    this.paused = false;
  }

  get url() {
    const credentials = this.options.password ? `:${this.options.password}@` : "";
    return `redis://${credentials}${this.host}:${this.port}`;
  }

  get socketPath() {
    return join(this.directory, "redis.sock");
  }

  get pid() {
    return this.child?.pid;
  }

  /** What the server wrote, for error messages. */
  get log() {
    return readFileSync(join(this.directory, "redis.log"), "utf8");
  }

  /** What redis-server is started with. @param {number} port @returns {string[]} */
  args(port) {
    const { password, unixSocket, appendOnly, args = [] } = this.options;
    return [
      ...["--port", String(port), "--bind", this.host, "--dir", this.directory, "--save", ""],
      ...["--appendonly", appendOnly ? "yes" : "no", "--appendfsync", "always"],
      ...(password ? ["--requirepass", password] : []),
      ...(unixSocket ? ["--unixsocket", this.socketPath] : []),
      ...args,
    ];
  }

  /**
   * @param {number} port
   * @returns {Promise<boolean>} false when the server could not bind the port
   */
  async launch(port) {
    const { binary = SERVER } = this.options;
    const log = openSync(join(this.directory, "redis.log"), "a");
    const env = { ...process.env, ...this.options.env };
    const child = spawn(binary, this.args(port), { stdio: ["ignore", log, log], env });
    closeSync(log);
    /** @type {Error | undefined} */
    let failure;
    let ended = false;
    this.exited = new Promise((resolve) => {
      child.once("error", (error) => {
        failure = error;
        ended = true;
        resolve();
      });
      child.once("exit", () => {
        ended = true;
        resolve();
      });
    });
    this.child = child;
    this.port = port;
    this.release = child.pid === undefined ? () => {} : guard(child, this.directory);
    await waitFor(async () => ended || (await this.isReady()), {
      timeout: START_TIMEOUT,
      what: () => `redis-server to be ready; its log:\n${this.log}`,
    });
    if (failure) {
      throw failure;
    }
    if (ended) {
      this.release();
      if (/Address already in use/.test(this.log)) {
        return false;
      }
      throw new Error(`redis-server ended at once; its log:\n${this.log}`);
    }
    return true;
  }

  /** @returns {Promise<boolean>} */
  async isReady() {
    try {
      await ask(this.port, ["PING"], /^(\+PONG|-NOAUTH)/);
      return true;
    } catch {
      return false;
    }
  }

  async start() {
    for (let attempt = 1; attempt <= START_ATTEMPTS; attempt++) {
      if (await this.launch(await freePort())) {
        return this;
      }
    }
    throw new Error(`no free port in ${START_ATTEMPTS} attempts; the log:\n${this.log}`);
  }

  /** Stops it in an orderly way, once the connections of closed adapters are gone. */
  async stop() {
    // Upstream's clients end when their blocking read does; cut off before, they would try to
    // reconnect for ever and keep the test alive.
    if (!this.paused) {
      await waitFor(async () => (await this.connectionCount()) === 0, {
        timeout: DRAIN_TIMEOUT,
        interval: 20,
      }).catch(() => {});
    }
    this.resume();
    await this.end("SIGTERM");
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Ends it at once and leaves nothing behind. */
  async remove() {
    this.resume();
    await this.end("SIGKILL");
    rmSync(this.directory, { recursive: true, force: true });
  }

  /**
   * @returns {Promise<number>} connections of clients, which masters, replicas and sentinels are
   *   not, besides the one that asks; 0 when it cannot ask
   */
  async connectionCount() {
    const { password } = this.options;
    const commands = [...(password ? [`AUTH ${password}`] : []), "CLIENT LIST"];
    try {
      const [list] = await ask(this.port, commands, /\$\d+\r\n[\s\S]*\n\r\n/);
      const clients = list
        .split("\n")
        .filter((line) => / flags=[^ MS]* /.test(line) && !/ name=sentinel-/.test(line));
      return clients.length - 1;
    } catch {
      return 0;
    }
  }

  /** Ends it at once, as a crash would. The directory stays for `restart()`. */
  async kill() {
    await this.end("SIGKILL");
  }

  /**
   * @param {NodeJS.Signals} signal
   */
  async end(signal) {
    this.child?.ref(); // or nothing might be left to wait for, and the process would end here
    this.child?.kill(signal);
    await this.exited;
    this.paused = false;
    this.release();
  }

  /**
   * Ends it and starts it again on the same port; with `appendOnly` with the same data.
   *
   * @param {{ signal?: NodeJS.Signals, args?: string[] }} [options] `args` replace those before
   */
  async restart({ signal = "SIGTERM", args } = {}) {
    await this.end(signal);
    if (args) {
      this.options = { ...this.options, args };
    }
    // another process may hold the port for a moment; clients know only this one
    await waitFor(() => this.launch(this.port), { what: `the port ${this.port} to be free again` });
  }

  /** Stops the process (SIGSTOP): connections stay open, nothing is answered. */
  pause() {
    this.paused = true;
    this.child?.kill("SIGSTOP");
  }

  resume() {
    this.paused = false;
    this.child?.kill("SIGCONT");
  }
}

/** @param {RedisServerOptions} [options] */
function startRedis(options = {}) {
  return new RedisServer(options).start();
}

module.exports = { ask, startRedis, freePort, RedisServer };

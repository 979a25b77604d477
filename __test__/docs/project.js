// A project as a user has it, in which the JS blocks of the documents run.

"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const fs = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");

const { SERVER_NAME } = require("../connection/certificates");
const { guard } = require("../helpers/guard");
const { freePort } = require("../helpers/redis-server");
const { waitFor, within } = require("../helpers/wait");
const { ROOT } = require("./markdown");
const { connect } = require("./nodes");

/**
 * @typedef {import("node:test").TestContext} TestContext
 * @typedef {import("../helpers/socket-client").SocketClient} SocketClient
 *
 * @typedef {object} Servers what stands in for the servers that documents name
 * @property {{ port: number, tlsPort: number, socketPath: string }} redis
 * @property {{ ports: number[] }} cluster
 * @property {{ nodes: { port: number }[] }} sentinel
 * @property {{ ca: string }} certificates
 */

const NAME = "socket.io-redis-streams-native";
const PACKAGES = ["socket.io", "socket.io-client", "redis", "ioredis", "iovalkey", "prom-client"];

/** What a block may use without saying where it is from, since the text around it does. */
const IMPORTS = {
  Server: 'import { Server } from "socket.io";',
  createAdapter: `import { createAdapter } from "${NAME}";`,
  Emitter: `import { Emitter } from "${NAME}";`,
};
const SERVER = 'const io = new Server(3000, { adapter: createAdapter("redis://localhost:6379") });';
const EMITTER = 'const emitter = new Emitter("redis://localhost:6379");';

/** @param {string} code */
const isEmitting = (code) => /\bemitter\b/.test(code);

/** @param {string} code */
const isTest = (code) => code.includes('from "node:test"');

/**
 * @param {string} code
 * @returns {string} a whole program
 */
function programOf(code) {
  let whole = code;
  if (isTest(code)) {
    return code;
  }
  if (isEmitting(code)) {
    whole = code.includes("new Emitter(") ? code : `${EMITTER}\n${code}`;
  } else if (!code.includes("new Server(")) {
    whole = code.includes("const adapter =")
      ? `${code}\nconst io = new Server(3000, { adapter });`
      : `${SERVER}\n${code}`;
  }
  const missing = Object.entries(IMPORTS).filter(
    ([name]) =>
      new RegExp(`\\b${name}\\(`).test(whole) && !new RegExp(`import .*\\b${name}\\b`).test(code),
  );
  return [...missing.map(([, line]) => line), whole].join("\n");
}

/** @param {Servers} servers */
function makeProject({ redis, cluster, sentinel, certificates }) {
  const folder = fs.mkdtempSync(join(tmpdir(), "sio-docs-"));
  const modules = join(folder, "node_modules");
  fs.mkdirSync(modules);
  fs.symlinkSync(ROOT, join(modules, NAME));
  for (const name of PACKAGES) {
    fs.symlinkSync(join(ROOT, "node_modules", name), join(modules, name));
  }
  fs.writeFileSync(join(folder, "ca.pem"), certificates.ca);

  /**
   * @param {string} code
   * @param {number} port of the HTTP server
   * @param {number} metricsPort
   */
  function adapted(code, port, metricsPort) {
    const replacements = {
      "localhost:6379": `127.0.0.1:${redis.port}`,
      "port: 6379": `port: ${redis.port}`,
      "localhost:7001": `127.0.0.1:${cluster.ports[0]}`,
      "localhost:7002": `127.0.0.1:${cluster.ports[1]}`,
      "port: 7002": `port: ${cluster.ports[1]}`,
      "port: 26379": `port: ${sentinel.nodes[0].port}`,
      "10.0.0.5": "127.0.0.1",
      "port: 6380": `port: ${redis.tlsPort}`,
      "redis.example.com": SERVER_NAME,
      "/run/redis/redis.sock": redis.socketPath,
      "Server(3000": `Server(${port}`,
      "?? 3000": `?? ${port}`,
      "listen(9464": `listen(${metricsPort}`,
    };
    return Object.entries(replacements).reduce(
      (text, [from, to]) => text.replaceAll(from, to),
      code,
    );
  }

  /**
   * @param {TestContext} t
   * @param {string} code of a block
   * @param {Record<string, string>} [env]
   */
  async function run(t, code, env = {}) {
    const [port, metricsPort] = [await freePort(), await freePort()];
    const file = join(folder, `program-${port}.mjs`);
    fs.writeFileSync(file, adapted(programOf(code), port, metricsPort));
    const child = spawn(process.execPath, [file], { cwd: folder, env: { ...process.env, ...env } });
    const release = guard(child);
    const ended = once(child, "exit");
    t.after(async () => {
      child.kill("SIGKILL");
      await ended;
      release();
    });
    const [url, metricsUrl] = [port, metricsPort].map((each) => `http://127.0.0.1:${each}`);
    const state = { child, ended, output: "", url, metricsUrl };
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (state.output += text));
    }
    return state;
  }

  return {
    run,

    /**
     * Runs a block that is a server.
     *
     * @param {TestContext} t
     * @param {string} code
     * @param {Record<string, string>} [env]
     */
    async serve(t, code, env) {
      const state = await run(t, code, env);
      return {
        state,
        /** @returns {Promise<SocketClient>} */
        async connect() {
          /** @type {SocketClient | undefined} */
          let client;
          await waitFor(
            async () => {
              assert.equal(state.child.exitCode, null, state.output);
              client = await connect(t, state.url).catch(() => undefined);
              return client;
            },
            { what: () => `a server at ${state.url}, which has said: ${state.output}` },
          );
          return /** @type {SocketClient} */ (client);
        },
        /** @returns {Promise<{ exitCode: number | null, output: string }>} */
        async end() {
          state.child.kill("SIGTERM");
          const [exitCode] = await within(state.ended, "the server's end");
          return { exitCode, output: state.output };
        },
      };
    },

    remove() {
      fs.rmSync(folder, { recursive: true, force: true });
    },
  };
}

module.exports = { isEmitting, isTest, makeProject };

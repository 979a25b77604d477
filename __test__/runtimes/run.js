// Runs all checks in one runtime.

"use strict";

const assert = require("node:assert/strict");
const { makeCertificates } = require("../connection/certificates");
const { freePort, startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { CHECKS_ALONE } = require("./alone");
const { CHECKS } = require("./checks");
const { RuntimeNode, runScript } = require("./node");
const { ENTRIES } = require("./project");
const { CHECKS_TLS, tlsSettings } = require("./tls");

/**
 * @typedef {import("../../scripts/runtimes").Runtime} Runtime
 * @typedef {import("./node").RuntimeNodeOptions} RuntimeNodeOptions
 * @typedef {Map<string, Error | undefined>} Results by the name of the check, in their order;
 *   with an error where it failed
 */

const LOADS = "loads by import and by require";
const ENDS = "ends by itself after io.close()";
const QUIET = "writes nothing to stderr but the warnings of the cuts";
const ENDS_ALONE = "ends by itself while Redis is away";

/** The names of all checks, in their order. @param {boolean} withRedis */
function checkNames(withRedis) {
  const names = (/** @type {{ name: string }[]} */ checks) => checks.map(({ name }) => name);
  const others = withRedis ? [...names(CHECKS), ENDS, QUIET, ...names(CHECKS_TLS)] : [];
  return [LOADS, ...names(CHECKS_ALONE), ENDS_ALONE, ...others];
}

/**
 * @param {Results} results
 * @param {string} name
 * @param {() => Promise<void>} check
 */
async function attempt(results, name, check) {
  try {
    await check();
    results.set(name, undefined);
  } catch (error) {
    results.set(name, /** @type {Error} */ (error));
  }
}

/**
 * @param {Results} results
 * @param {{ name: string, run(subject: any): Promise<void> }[]} checks
 * @param {any} subject
 */
async function attemptAll(results, checks, subject) {
  for (const { name, run } of checks) {
    await attempt(results, name, () => run(subject));
  }
}

/** @param {RuntimeNode[]} nodes */
async function allEnd(nodes) {
  const codes = await Promise.all(nodes.map((node) => node.close()));
  assert.deepEqual(codes, Array(nodes.length).fill(0), nodes.map((node) => node.errors).join("\n"));
}

/** @param {RuntimeNode} node whose connections were cut */
function assertQuiet({ name, errors, warnings }) {
  const codes = new Set(warnings.map(({ code }) => code));
  assert.deepEqual([...codes], ["ERR_SIO_REDIS_CONNECTION"], `the warnings of ${name}`);
  const expected = [...warnings.map(({ message }) => message), "--trace-warnings"];
  const lines = errors.split("\n").filter((line) => line !== "");
  const others = lines.filter((line) => !expected.some((text) => line.includes(text)));
  assert.deepEqual(others, [], `the output of ${name}`);
}

/**
 * @param {Runtime} runtime
 * @param {string} project
 * @param {Results} results
 */
async function runAlone(runtime, project, results) {
  const redis = `redis://127.0.0.1:${await freePort()}`;
  const nodes = ENTRIES.map(
    (file) => new RuntimeNode(runtime, project, { name: file, file, connection: "url", redis }),
  );
  try {
    await attempt(results, LOADS, async () => {
      for (const { versions } of await Promise.all(nodes.map((node) => node.started()))) {
        assert.equal(versions[runtime.kind], runtime.version);
      }
    });
    await attemptAll(results, CHECKS_ALONE, nodes[0]);
    await attempt(results, ENDS_ALONE, () => allEnd(nodes));
  } finally {
    nodes.forEach((node) => node.kill());
  }
}

/**
 * @param {Runtime} runtime
 * @param {string} project
 * @param {Results} results
 */
async function runTrio(runtime, project, results) {
  const redis = await startRedis();
  const connections = /** @type {const} */ (["url", "redis", "ioredis"]);
  const nodes = connections.map((connection, i) => {
    const file = ENTRIES[i % ENTRIES.length];
    const name = `node ${i + 1} (${connection})`;
    return new RuntimeNode(runtime, project, { name, file, connection, redis: redis.url });
  });
  try {
    await Promise.all(nodes.map((node) => node.started()));
    const transports = [["websocket"], ["polling"], ["polling", "websocket"]];
    const clients = await Promise.all(
      nodes.map(({ url }, i) => connectClient(url, { transports: transports[i] })),
    );
    const script = (/** @type {string} */ file, /** @type {string[]} */ ...args) =>
      runScript(runtime, project, file, [redis.url, ...args]);
    await attemptAll(results, CHECKS, { nodes, clients, redisPort: redis.port, script });
    clients.forEach((client) => client.disconnect());
    await attempt(results, ENDS, () => allEnd(nodes));
    await attempt(results, QUIET, async () => nodes.forEach(assertQuiet));
  } finally {
    nodes.forEach((node) => node.kill());
    await redis.stop();
  }
}

/**
 * @param {Runtime} runtime
 * @param {string} project
 * @param {Results} results
 */
async function runTls(runtime, project, results) {
  const redis = await startRedis();
  const certificates = makeCertificates();
  const proxy = await startProxy(redis.port, undefined, { certificates });
  const start = (/** @type {string} */ name, /** @type {object} */ settings) =>
    new RuntimeNode(runtime, project, {
      name,
      file: ENTRIES[0],
      connection: "settings",
      redis: settings,
    });
  const settings = tlsSettings(certificates, proxy.port);
  const trusting = start("trusting", settings.trusting);
  const doubting = start("doubting", settings.doubting);
  try {
    await Promise.all([trusting.started(), doubting.started()]);
    await attemptAll(results, CHECKS_TLS, { trusting, doubting });
  } finally {
    trusting.kill();
    doubting.kill();
    proxy.close();
    await redis.remove();
    certificates.remove();
  }
}

/**
 * @param {Runtime} runtime
 * @param {string} project folder
 * @param {boolean} withRedis
 * @returns {Promise<Results>}
 */
async function runChecks(runtime, project, withRedis) {
  /** @type {Results} */
  const results = new Map();
  /** @type {Error[]} */
  const failures = [];
  await runAlone(runtime, project, results);
  if (withRedis) {
    for (const run of [runTrio, runTls]) {
      await run(runtime, project, results).catch((error) => failures.push(error));
    }
  }
  // What kept the nodes from starting is the cause for each check that did not run.
  for (const name of checkNames(withRedis).filter((each) => !results.has(each))) {
    results.set(name, failures[0] ?? new Error("it did not run"));
  }
  return results;
}

module.exports = { checkNames, runChecks };

// Hostile recovery input: sessions and offsets come from clients, who make them up.

"use strict";

const assert = require("node:assert/strict");
const { fork } = require("node:child_process");
const { join } = require("node:path");
const { describe, test } = require("node:test");
const { useRedis } = require("../helpers/cluster");
const { guard } = require("../helpers/guard");
const { SESSION_KEY_PREFIX } = require("../helpers/recovery");
const { settle, waitFor } = require("../helpers/wait");
const { lastEntryId } = require("../helpers/wire");
const { defer } = require("../faults/defer");
const { seed } = require("../faults/random");
const { startAgent } = require("./agent");
const { LedgerClient } = require("./client");
const { ECHO } = require("./greeting");
const { OPTIONS } = require("./load");

const context = useRedis();

describe("hostile clients harm nobody else", () => {
  const ATTEMPTS = 10_000;
  const CLIENTS = 10;
  /** ms between two echoes of a client */
  const EVERY = 20;
  /** The p99 may be so many times as high as with as many new clients that are not hostile. */
  const RATIO = 10;
  /** ms; below, ratios say nothing on a machine that others use as well. */
  const FLOOR = 30;

  /** @param {number[]} times @param {number} part */
  const quantile = (times, part) =>
    times.sort((a, b) => a - b)[Math.floor(part * (times.length - 1))];

  /**
   * @param {LedgerClient[]} clients
   * @param {() => Promise<unknown>} during
   * @returns {Promise<number[]>} ms that echoes took
   */
  async function echoes(clients, during) {
    /** @type {number[]} */
    const times = [];
    /** @type {Map<string, number>} */
    const open = new Map();
    let next = 0;
    clients.forEach(({ socket }, place) => {
      socket.on(ECHO, (number) => {
        const key = `${place} ${number}`;
        times.push(performance.now() - (open.get(key) ?? NaN));
        open.delete(key);
      });
    });
    const timer = setInterval(() => {
      const number = next++;
      clients.forEach(({ socket }, place) => {
        open.set(`${place} ${number}`, performance.now());
        socket.emit(ECHO, number);
      });
    }, EVERY);
    await during();
    clearInterval(timer);
    await waitFor(() => open.size === 0, { timeout: 20_000, what: () => `${open.size} echoes` });
    clients.forEach(({ socket }) => socket.off(ECHO));
    return times;
  }

  /**
   * @param {import("./attack-main").Attack} attack
   * @returns {Promise<import("./attack-main").Outcome>}
   */
  function run(attack) {
    const child = fork(join(__dirname, "attack-main.js"), [JSON.stringify(attack)]);
    const release = guard(child);
    return new Promise((resolve, reject) => {
      child.once("message", (outcome) => resolve(/** @type {any} */ (outcome)));
      child.once("exit", (code) => {
        release();
        reject(new Error(`the attack ended with ${code}`));
      });
      child.ref();
    });
  }

  /** @param {import("node:test").TestContext} t */
  async function startTarget(t) {
    await context.admin.command("FLUSHALL");
    const target = await startAgent({
      redis: context.redis,
      adapterOptions: OPTIONS,
      serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } },
    });
    defer(t, () => target.close());
    return target;
  }

  // Breaks when made-up sessions cost more than a look for a key that is not there: when offsets are
  // not checked before anything is read by them, or restores wait for each other.
  test(`${ATTEMPTS} restores with made-up sessions do not slow the others`, async (t) => {
    const target = await startTarget(t);
    const clients = Array.from({ length: CLIENTS }, (_, i) => new LedgerClient(String(i), []));
    defer(t, () => clients.forEach((client) => client.disconnect()));
    for (const client of clients) {
      assert.ok(await client.connect(target.url));
    }
    // Something to be read, for a node that would.
    await target.burst(10_000);
    await waitFor(() => clients.every(({ ledger }) => ledger?.received.length === 10_000));
    const [[oldest]] = await context.admin.command("XRANGE", "socket.io", "-", "+", "COUNT", 1);
    const start = seed();
    t.diagnostic(`SEED=${start}`);
    const offsets = [oldest, await lastEntryId(context.admin, "socket.io")];
    const attack = { url: target.url, attempts: ATTEMPTS, seed: start, offsets };

    const quiet = await echoes(clients, () => settle(1_500));
    const plain = await echoes(clients, async () => {
      const attempts = ATTEMPTS / 5;
      const outcome = await run({ ...attack, kind: "plain", attempts });
      assert.deepEqual(outcome, { fresh: attempts, restored: 0, refused: 0 });
    });
    const hostile = await echoes(clients, async () => {
      const outcome = await run({ ...attack, kind: "hostile" });
      assert.deepEqual(outcome, { fresh: ATTEMPTS, restored: 0, refused: 0 });
    });
    for (const [what, times] of Object.entries({ quiet, plain, hostile })) {
      const [p50, p99] = [0.5, 0.99].map((part) => quantile(times, part).toFixed(1));
      t.diagnostic(`${what}: ${times.length} echoes, p50 ${p50} ms, p99 ${p99} ms`);
    }
    const bound = RATIO * Math.max(FLOOR, quantile(quiet, 0.99), quantile(plain, 0.99));
    assert.ok(quantile(hostile, 0.99) < bound, `p99 below ${bound} ms`);
    assert.deepEqual((await target.findings()).faults, []);
  });

  // Breaks when a restore that waits for the reader to reach the client's offset, which no reader
  // ever will, keeps others waiting.
  test("offsets from the future hold up nobody", async (t) => {
    const target = await startTarget(t);
    const isSaved = async (/** @type {LedgerClient} */ client) =>
      (await context.admin.command("EXISTS", SESSION_KEY_PREFIX + client.pid)) === 1;
    /** @type {LedgerClient[]} */
    const hostile = [];
    const honest = new LedgerClient("honest", []);
    defer(t, () => [honest, ...hostile].forEach((client) => client.disconnect()));
    assert.ok(await honest.connect(target.url));
    for (let i = 0; i < 100; i++) {
      const client = new LedgerClient(`hostile ${i}`, []);
      assert.ok(await client.connect(target.url));
      hostile.push(client);
    }
    await target.burst(1);
    await waitFor(() => [honest, ...hostile].every(({ offset }) => offset !== undefined));

    /** How long it takes the honest one to come back, ms. */
    const timeBack = async () => {
      const begin = performance.now();
      assert.ok(await honest.connect(target.url));
      assert.ok(honest.socket.recovered);
      return performance.now() - begin;
    };
    const drop = async (/** @type {LedgerClient[]} */ clients) => {
      clients.forEach((client) => client.cut());
      for (const client of clients) {
        await waitFor(() => isSaved(client), { what: "the session to be saved" });
      }
    };
    await drop([honest]);
    const alone = await timeBack();
    await drop([honest, ...hostile]);
    const attempts = hostile.map((client) => {
      Object.assign(client.socket, { _lastOffset: "9999999999999-0" });
      return client.connect(target.url);
    });
    const time = await timeBack();
    t.diagnostic(`back after ${alone.toFixed()} ms alone, after ${time.toFixed()} ms among them`);
    assert.ok(time < 1_000 + 10 * alone, `back after ${time} ms`);
    assert.ok((await Promise.all(attempts)).every(Boolean));
    assert.ok(hostile.every(({ socket }) => !socket.recovered));
  });
});

// `registerMetrics`: the stats of real nodes in registries of prom-client.

"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { describe, test } = require("node:test");
const { AggregatorRegistry, Counter, Registry, register: globalRegister } = require("prom-client");
const { registerMetrics } = require("../../metrics");
const { waitFor } = require("../helpers/wait");
const { defer } = require("../faults/defer");
const { parse, valueIn } = require("./exposition");
const { SOON, STREAM, nodeOn, ownRedis } = require("./setup");

/** @typedef {import("node:test").TestContext} TestContext */

const PREFIX = "socketio_redis_streams_";
const PUBLISHED = `${PREFIX}published_entries_total`;
const LATENCIES = `${PREFIX}publish_latency_seconds_count`;

/** @param {{ io: import("socket.io").Server, stats(): any }} node @param {number} count */
async function emit({ io, stats }, count) {
  const published = stats().published + count;
  for (let i = 0; i < count; i++) {
    io.emit("event", i);
  }
  await waitFor(() => stats().published === published && stats().lagEntries === 0, SOON);
}

/** @param {() => unknown} work @param {string} code @param {RegExp} message */
function throwsWith(work, code, message) {
  assert.throws(work, (/** @type {any} */ error) => {
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}

test("the exposition is well-formed, and says what stats() says", async (t) => {
  const { redis } = await ownRedis(t);
  const node = await nodeOn(t, redis.url);
  const register = new Registry();
  registerMetrics(node.io, { register, labels: { server: 'a "quoted" \\ name' } });
  await emit(node, 20);
  await waitFor(() => node.stats().streamLength === 20, SOON);
  const text = await register.metrics();
  const families = parse(text);
  const stats = /** @type {any} */ (node.stats());
  /** @param {string} name */
  const value = (name) => valueIn(text, PREFIX + name, { server: 'a \\"quoted\\" \\\\ name' });
  for (const [name, field] of [
    ["read_entries_total", "read"],
    ["published_entries_total", "published"],
    ["losses_total", "losses"],
    ["reconnects_total", "reconnects"],
    ["members", "members"],
    ["inbox_bytes", "inboxBytes"],
    ["queue_publishes", "queueLength"],
    ["lag_entries", "lagEntries"],
    ["stream_entries", "streamLength"],
  ]) {
    assert.equal(value(name), stats[field], name);
  }
  assert.equal(value("connected"), 1);
  assert.equal(value("publish_latency_seconds_count"), 20);
  assert.equal(value("publish_latency_seconds_sum"), stats.publishLatency.sumMs / 1_000);
  const buckets = (families.get(`${PREFIX}publish_latency_seconds`)?.samples ?? [])
    .filter(({ labels }) => labels.le !== undefined)
    .map(({ labels, value }) => [Number(labels.le) * 1_000, value]);
  assert.deepEqual(buckets.slice(0, -1), stats.publishLatency.buckets);
  assert.deepEqual(
    families.get(`${PREFIX}lag_seconds`)?.samples.map(({ labels }) => labels.stream),
    [STREAM],
  );
  for (const [name, { samples }] of families) {
    assert.ok(name.startsWith(PREFIX) && samples.length > 0, name);
  }
});

test("what is not known is absent", async (t) => {
  const { redis, admin } = await ownRedis(t);
  await admin.command("ACL", "SETUSER", "chat", "on", ">secret", "~*", "&*", "+@all", "-xinfo");
  const node = await nodeOn(t, redis.url.replace("redis://", "redis://chat:secret@"));
  const register = new Registry();
  registerMetrics(node.io, { register });
  node.io.emit("event");
  const isRead = () => node.stats().read === 1 && node.stats().lagEntries === undefined;
  await waitFor(() => isRead() && node.stats().lagMs === 0, SOON);
  const families = parse(await register.metrics());
  assert.deepEqual(families.get(`${PREFIX}lag_entries`)?.samples, []);
  assert.equal(families.get(`${PREFIX}lag_seconds`)?.samples.length, 1);
});

test("OpenMetrics is served as well", async (t) => {
  const { redis } = await ownRedis(t);
  const node = await nodeOn(t, redis.url);
  const register = /** @type {any} */ (new Registry());
  register.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  const metrics = registerMetrics(node.io, { register });
  await emit(node, 5);
  for (let i = 0; i < 2; i++) {
    const text = await register.metrics();
    assert.ok(text.endsWith("# EOF\n"));
    assert.match(text, /^# TYPE socketio_redis_streams_published_entries counter$/m);
    assert.match(text, /^socketio_redis_streams_published_entries_total 5$/m);
  }
  metrics.unregister();
  assert.deepEqual(register.getMetricsAsArray(), []);
});

describe("counters never fall", () => {
  // Breaks when the stats of an engine are shown as they are: each starts with zero.
  test("when the last namespace was closed and another one is opened", async (t) => {
    const { redis } = await ownRedis(t);
    const node = await nodeOn(t, redis.url);
    const register = new Registry();
    registerMetrics(node.io, { register });
    await emit(node, 7);
    await node.adapter.close();
    const inBetween = await register.metrics();
    assert.equal(valueIn(inBetween, PUBLISHED), 7);
    assert.equal(valueIn(inBetween, `${PREFIX}connected`), undefined, "nothing is open");

    const later = node.io.of("/later");
    const stats = () => /** @type {any} */ (later.adapter).stats();
    await emit({ io: /** @type {any} */ (later), stats }, 3);
    assert.equal(stats().published, 3);
    // Scrapes in one turn of the event loop share their stats.
    await new Promise((resolve) => setImmediate(resolve));
    const text = await register.metrics();
    assert.deepEqual([valueIn(text, PUBLISHED), valueIn(text, LATENCIES)], [10, 10]);
    assert.equal(valueIn(text, `${PREFIX}connected`), 1);
  });

  test("when the server was closed and another one takes its place", async (t) => {
    const { redis } = await ownRedis(t);
    const register = new Registry();
    const first = await nodeOn(t, redis.url);
    registerMetrics(first.io, { register });
    await emit(first, 7);
    await first.close();
    const second = await nodeOn(t, redis.url);
    registerMetrics(second.io, { register });
    await emit(second, 3);
    const text = await register.metrics();
    assert.deepEqual([valueIn(text, PUBLISHED), valueIn(text, LATENCIES)], [10, 10]);
  });

  // Breaks when its ended engine is counted by both.
  test("when a server that was closed is registered again", async (t) => {
    const { redis } = await ownRedis(t);
    const register = new Registry();
    const node = await nodeOn(t, redis.url);
    registerMetrics(node.io, { register });
    await emit(node, 7);
    await node.close();
    const { unregister } = registerMetrics(node.io, { register });
    assert.equal(valueIn(await register.metrics(), PUBLISHED), 7);
    unregister();
    assert.equal(await register.metrics(), "\n");
  });
});

describe("several servers in one registry", () => {
  test("are told apart by labels, and each can be taken out", async (t) => {
    const { redis } = await ownRedis(t);
    const register = new Registry();
    const nodes = await Promise.all([0, 1].map((index) => nodeOn(t, redis.url, { index })));
    const [a, b] = nodes.map(({ io }, i) =>
      registerMetrics(io, { register, labels: { server: `s${i}` } }),
    );
    await emit(nodes[0], 2);
    await emit(nodes[1], 3);
    const published = async (/** @type {string} */ server) =>
      valueIn(await register.metrics(), PUBLISHED, { server });
    assert.deepEqual([await published("s0"), await published("s1")], [2, 3]);
    throwsWith(
      () => registerMetrics(nodes[0].io, { register, labels: { server: "s1" } }),
      "ERR_SIO_REDIS_OPTION",
      /`labels`.*another server.*unregister\(\)/,
    );
    throwsWith(
      () => registerMetrics(nodes[0].io, { register }),
      "ERR_SIO_REDIS_OPTION",
      /`labels`.*same names.*\[server\]/,
    );
    a.unregister();
    assert.deepEqual([await published("s0"), await published("s1")], [undefined, 3]);
    b.unregister();
    b.unregister();
    assert.deepEqual(register.getMetricsAsArray(), []);
    registerMetrics(nodes[0].io, { register });
    assert.equal(valueIn(await register.metrics(), PUBLISHED), 2);
  });

  test("have one registry each, or one prefix each", async (t) => {
    const { redis } = await ownRedis(t);
    const { io } = await nodeOn(t, redis.url);
    const registers = [new Registry(), new Registry()];
    registers.forEach((register) => registerMetrics(io, { register }));
    registerMetrics(io, { register: registers[0], prefix: "chat_" });
    assert.equal(valueIn(await registers[0].metrics(), "chat_members"), 1);
    for (const register of registers) {
      assert.equal(valueIn(await register.metrics(), `${PREFIX}members`), 1);
    }
  });
});

test("a registry that was cleared can be filled again", async (t) => {
  const { redis } = await ownRedis(t);
  const node = await nodeOn(t, redis.url);
  await emit(node, 4);
  const before = registerMetrics(node.io);
  globalRegister.clear();
  const after = registerMetrics(node.io);
  before.unregister(); // of what is there no more: changes nothing
  assert.equal(valueIn(await globalRegister.metrics(), PUBLISHED), 4);
  after.unregister();
  assert.deepEqual(globalRegister.getMetricsAsArray(), []);
});

test("where a name is taken nothing is left behind", async (t) => {
  const { redis } = await ownRedis(t);
  const { io } = await nodeOn(t, redis.url);
  const register = new Registry();
  const name = `${PREFIX}members`;
  const users = new Counter({ name, help: "The user's own.", registers: [register] });
  assert.throws(() => registerMetrics(io, { register }), /already been registered/);
  assert.deepEqual(register.getMetricsAsArray(), [users]);
});

// Breaks when a lag is added up, or a histogram loses its buckets on the way.
test("workers of a cluster are put together by prom-client", async (t) => {
  const { redis } = await ownRedis(t);
  const nodes = await Promise.all([0, 1].map((index) => nodeOn(t, redis.url, { index })));
  const registers = nodes.map(({ io }) => {
    const register = new Registry();
    registerMetrics(io, { register });
    return register;
  });
  await emit(nodes[0], 5);
  await emit(nodes[1], 6);
  for (const { stats } of nodes) {
    await waitFor(() => stats().streamLength === 11 && stats().members === 2, SOON);
  }
  // What workers send to the primary process.
  const sent = await Promise.all(registers.map((register) => register.getMetricsAsJSON()));
  const whole = AggregatorRegistry.aggregate(JSON.parse(JSON.stringify(sent)));
  const text = await whole.metrics();
  const names = [PUBLISHED, LATENCIES, `${PREFIX}stream_entries`, `${PREFIX}members`];
  assert.deepEqual(
    names.map((name) => valueIn(text, name)),
    [11, 11, 11, 2],
  );
  const buckets = parse(text).get(`${PREFIX}publish_latency_seconds`)?.samples ?? [];
  assert.equal(buckets.length, nodes[0].stats().publishLatency.buckets.length + 3);
});

describe("what cannot work throws", () => {
  test("wrong arguments name what is wrong", async (t) => {
    const { redis } = await ownRedis(t);
    const { io } = await nodeOn(t, redis.url);
    const register = new Registry();
    /** @type {[any, any, RegExp][]} */
    const wrong = [
      [undefined, {}, /first argument/],
      [{ _nsps: new Map([["/", { adapter: {} }]]) }, {}, /first argument.*createAdapter\(\)/],
      [io, { register: {} }, /`register`/],
      [io, { register, prefix: "a-b" }, /`prefix`/],
      [io, { register, labels: 5 }, /`labels`/],
      [io, { register, labels: { le: "x" } }, /`labels\.le`/],
      [io, { register, labels: { "a-b": "x" } }, /`labels\.a-b`/],
      [io, { register, labels: { a: {} } }, /`labels\.a`/],
    ];
    for (const [server, options, message] of wrong) {
      throwsWith(() => registerMetrics(server, options), "ERR_SIO_REDIS_OPTION", message);
    }
    assert.deepEqual(register.getMetricsAsArray(), []);
  });

  test("an error names prom-client when it is not installed", (t) => {
    const folder = fs.mkdtempSync(join(tmpdir(), "sio-metrics-"));
    defer(t, () => fs.rmSync(folder, { recursive: true }));
    const root = join(__dirname, "..", "..");
    for (const part of ["metrics.js", join("lib", "metrics"), join("lib", "timers.js")]) {
      fs.cpSync(join(root, part), join(folder, part), { recursive: true });
    }
    const alone = require(join(folder, "metrics.js"));
    throwsWith(
      () => alone.registerMetrics({}),
      "ERR_SIO_REDIS_PROM_CLIENT",
      /prom-client is not installed.*npm install prom-client/,
    );
  });
});

test("can be imported and required by its name", async () => {
  const name = "socket.io-redis-streams-native/metrics";
  assert.equal((await import(name)).registerMetrics, registerMetrics);
  assert.equal(require(name).registerMetrics, registerMetrics);
});

// What is said on channels of `node:diagnostics_channel`, and in the debug output.

"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const channels = require("node:diagnostics_channel");
const { once } = require("node:events");
const { join } = require("node:path");
const { describe, test } = require("node:test");
const { guard } = require("../helpers/guard");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { settle, waitFor } = require("../helpers/wait");
const { defer } = require("../faults/defer");
const { SOON, STREAM, nodeOn, ownRedis, processOn } = require("./setup");

/** @typedef {import("node:test").TestContext} TestContext */

const PREFIX = "socket.io-redis-streams";
/** A client's secret. */
const PID = "the-id-of-a-session";
const PASSWORD = "the-password-of-redis";
const HEARTBEATS = { heartbeatInterval: 200, heartbeatTimeout: 1_000 };

/**
 * What is said on a channel, by the server that says it.
 *
 * @template T
 * @param {TestContext} t
 * @param {string} name
 * @returns {(io: any) => (Omit<T, "server">)[]}
 */
function listen(t, name) {
  /** @type {any[]} */
  const messages = [];
  const onMessage = (/** @type {unknown} */ message) => messages.push(message);
  channels.subscribe(`${PREFIX}:${name}`, onMessage);
  defer(t, () => channels.unsubscribe(`${PREFIX}:${name}`, onMessage));
  return (io) =>
    messages.filter(({ server }) => server === io).map(({ server: _, ...message }) => message);
}

describe("a loss", () => {
  test("is said once by each node, for all namespaces of the stream", async (t) => {
    const losses = listen(t, "loss");
    const { redis, admin } = await ownRedis(t);
    const nodes = await Promise.all([0, 1].map((index) => nodeOn(t, redis.url, { index })));
    nodes[0].io.of("/chat");
    nodes[0].io.emit("event");
    for (const { stats } of nodes) {
      await waitFor(() => stats().streamLength === 1 && stats().read === 1, SOON);
    }
    await admin.command("DEL", STREAM);
    const expected = { reason: "deleted", entries: undefined };
    for (const { io, adapter, index } of nodes) {
      await waitFor(() => losses(io).length > 0, { ...SOON, what: "the loss to be said" });
      const namespaces = index === 0 ? ["/", "/chat"] : ["/"];
      assert.deepEqual(losses(io), [{ uid: adapter.uid, namespaces, ...expected }]);
    }
  });

  test("tells how many entries were trimmed before they were read", async (t) => {
    const losses = listen(t, "loss");
    const { redis, admin } = await ownRedis(t);
    /** @type {import("../helpers/tcp-proxy").Link[]} */
    const readers = [];
    const proxy = await startProxy(redis.port, (link, direction, chunk) => {
      if (direction === "up" && chunk.includes("XREAD")) {
        readers.push(link);
      }
    });
    defer(t, () => proxy.close());
    const writer = await nodeOn(t, redis.url);
    const reader = await nodeOn(t, proxy.url, { index: 1 });
    await waitFor(() => reader.stats().position !== undefined && readers.length > 0, SOON);
    writer.io.emit("event");
    await waitFor(() => reader.stats().read === 1, SOON);
    readers.forEach((link) => link.stall());
    for (let i = 0; i < 40; i++) {
      writer.io.emit("event");
    }
    await waitFor(() => writer.stats().published === 41, SOON);
    await admin.command("XTRIM", STREAM, "MAXLEN", 15);
    readers.forEach((link) => link.destroy());
    await waitFor(() => losses(reader.io).length > 0, { ...SOON, what: "the loss to be said" });
    assert.deepEqual(losses(reader.io), [
      { uid: reader.adapter.uid, namespaces: ["/"], reason: "trimmed", entries: 25 },
    ]);
    assert.deepEqual(losses(writer.io), []);
  });
});

test("a connection that stands again is said, with the time it was away", async (t) => {
  const reconnects = listen(t, "reconnect");
  const { redis, admin } = await ownRedis(t);
  const { io, adapter, stats } = await nodeOn(t, redis.url);
  await waitFor(() => stats().connected && stats().lagEntries === 0, SOON);
  assert.deepEqual(reconnects(io), [], "the first time is none");
  await admin.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
  await admin.command("CLIENT", "KILL", "TYPE", "pubsub");
  await waitFor(() => reconnects(io).length === 3, {
    ...SOON,
    what: () => `3 reconnects, not ${JSON.stringify(reconnects(io))}`,
  });
  const said = /** @type {any[]} */ (reconnects(io));
  assert.deepEqual(said.map(({ connection }) => connection).sort(), ["pubsub", "reader", "writer"]);
  for (const { uid, namespaces, awayMs } of said) {
    assert.deepEqual({ uid, namespaces }, { uid: adapter.uid, namespaces: ["/"] });
    assert.ok(awayMs >= 0 && awayMs < SOON.timeout, `${awayMs} ms`);
  }
  assert.equal(stats().reconnects, 3);

  const start = performance.now();
  await redis.kill();
  await waitFor(() => !stats().connected, SOON);
  const away = performance.now();
  await settle(300);
  const least = performance.now() - away;
  await redis.restart();
  await waitFor(() => reconnects(io).length >= 6, { ...SOON, what: "all to stand again" });
  const again = /** @type {any[]} */ (reconnects(io)).slice(3);
  const reader = again.find(({ connection }) => connection === "reader");
  assert.ok(reader.awayMs >= Math.floor(least), `${reader.awayMs} of at least ${least} ms`);
  assert.ok(reader.awayMs <= performance.now() - start);
});

// Node makes an uncaught exception of what a subscriber throws, and only of that.
test("a subscriber that throws breaks nothing of the adapter", async (t) => {
  const { redis, admin } = await ownRedis(t);
  const script = `
    const channels = require("node:diagnostics_channel");
    const { Server } = require("socket.io");
    const { createAdapter } = require(".");
    process.on("uncaughtException", ({ message }) => console.log(message));
    channels.subscribe("${PREFIX}:reconnect", () => { throw new Error("the subscriber's"); });
    const io = new Server(0, { adapter: createAdapter("${redis.url}") });
    const { adapter } = io.of("/");
    process.on("message", () => process.send(adapter.stats()));
    process.on("disconnect", () => process.exit());
  `;
  const child = spawn(process.execPath, ["-e", script], {
    cwd: join(__dirname, "..", ".."),
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  defer(t, () => child.kill("SIGKILL"));
  child.once("exit", guard(child));
  let output = "";
  child.stdout?.on("data", (data) => (output += data));
  const stats = async () => {
    child.send("stats");
    return (await once(child, "message"))[0];
  };
  await waitFor(async () => (await stats()).connected, SOON);
  for (const done of [1, 2]) {
    await admin.command("CLIENT", "KILL", "TYPE", "pubsub");
    await waitFor(async () => (await stats()).reconnects === done, SOON);
  }
  await waitFor(() => output === "the subscriber's\n".repeat(2), { what: () => output });
});

for (const requestsVia of ["pubsub", "stream"]) {
  test(`who comes and goes is said (requestsVia: "${requestsVia}")`, async (t) => {
    const [joins, leaves] = [listen(t, "member-join"), listen(t, "member-leave")];
    const { redis } = await ownRedis(t);
    const options = { requestsVia, ...HEARTBEATS };
    const { io, adapter } = await nodeOn(t, redis.url, { adapterOptions: options });
    const origin = {
      uid: adapter.uid,
      ...(requestsVia === "stream" && { namespace: "/" }),
    };
    const [closed, killed] = [
      await processOn(t, redis, options),
      await processOn(t, redis, options),
    ];
    await waitFor(() => joins(io).length === 2, SOON);
    assert.deepEqual(joins(io), [
      { ...origin, member: closed.uid },
      { ...origin, member: killed.uid },
    ]);
    await closed.close();
    await waitFor(() => leaves(io).length === 1, SOON);
    await killed.kill();
    await waitFor(() => leaves(io).length === 2, SOON);
    assert.deepEqual(leaves(io), [
      { ...origin, member: closed.uid, reason: "left" },
      { ...origin, member: killed.uid, reason: "silent" },
    ]);
    assert.equal(joins(io).length, 2);
  });
}

test("a node that hangs goes, and comes again", async (t) => {
  const [joins, leaves] = [listen(t, "member-join"), listen(t, "member-leave")];
  const { redis } = await ownRedis(t);
  const { io } = await nodeOn(t, redis.url, { adapterOptions: HEARTBEATS });
  const other = await processOn(t, redis, HEARTBEATS);
  await waitFor(() => joins(io).length === 1, SOON);
  other.pause();
  await waitFor(() => leaves(io).length === 1, SOON);
  other.resume();
  await waitFor(() => joins(io).length === 2, SOON);
  assert.deepEqual(
    new Set(joins(io).map((/** @type {any} */ m) => m.member)),
    new Set([other.uid]),
  );
});

describe("the debug output", () => {
  test("tells connections, members, losses and refused restores, and no secret", async (t) => {
    const { redis, admin } = await ownRedis(t, { password: PASSWORD });
    process.env.DEBUG = "socket.io-redis-streams-adapter";
    defer(t, () => delete process.env.DEBUG);
    const watching = await processOn(t, redis, HEARTBEATS, {
      connectionStateRecovery: { maxDisconnectionDuration: 60_000 },
    });
    delete process.env.DEBUG;
    /** @param {RegExp} line */
    const says = (line) =>
      waitFor(() => line.test(watching.output), {
        ...SOON,
        what: () => `${line} in the debug output:\n${watching.output}`,
      });
    await says(/reader of socket\.io: connected$/m);
    await says(/writer of socket\.io: connected$/m);
    await says(/pubsub: connected$/m);
    const other = await processOn(t, redis, HEARTBEATS);
    await says(new RegExp(`node ${other.uid} is there$`, "m"));
    await admin.command("CLIENT", "KILL", "TYPE", "pubsub");
    await says(/pubsub: the connection has ended$/m);
    await says(/pubsub: connected again after \d+ ms$/m);
    await other.kill();
    await says(new RegExp(`node ${other.uid} is not heard any more$`, "m"));
    await watching.emit("event");
    await waitFor(async () => (await watching.stats()).streamLength === 1, SOON);
    await admin.command("DEL", STREAM);
    await says(/entries lost in \/: .*deleted/);
    const next = await processOn(t, redis, HEARTBEATS);
    await says(new RegExp(`node ${next.uid} is there$`, "m"));
    await next.close();
    await says(new RegExp(`node ${next.uid} has left$`, "m"));
    for (const [offset, why] of [
      ["1-1", "no such session, or it has expired"],
      ["?", "the offset is no entry ID"],
    ]) {
      const client = await connectClient(watching.url, { auth: { pid: PID, offset } });
      client.disconnect();
      await says(new RegExp(`session not restored: ${why}$`, "m"));
    }
    assert.ok(!watching.output.includes(PID) && !watching.output.includes(PASSWORD));
  });
});

// The ways of managed services and proxies: commands that are refused or renamed, connections that
// are one too many, servers that do not know RESP3.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { startRedisCluster } = require("../helpers/redis-cluster");
const { startRedisSentinel } = require("../helpers/redis-sentinel");
const { startRedis } = require("../helpers/redis-server");
const { startProxy } = require("../helpers/tcp-proxy");
const { settle, waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const { IN_RESP2, REPETITION, USER, renamed, startTwo } = require("./two-nodes");
const { takeWarnings, warnings } = require("./warnings");

/**
 * Asserts that each of these commands was said to be refused by either node once, and nothing else.
 *
 * @param {string[]} commands
 * @param {RegExp} advice
 */
async function assertSaid(commands, advice) {
  const names = () => warnings.map(({ message }) => /refused ([A-Z]+)\b/.exec(message)?.[1]);
  await waitFor(() => commands.every((command) => names().includes(command)), {
    what: () => `${commands} to be said, not ${JSON.stringify(warnings, null, 1)}`,
  });
  await settle(REPETITION);
  const expected = [...commands, ...commands].sort(); // two nodes
  assert.deepEqual(names().sort(), expected, JSON.stringify(warnings, null, 1));
  for (const { message } of takeWarnings()) {
    assert.match(message, advice);
    assert.ok(!message.includes(USER.password), "no secret is said");
  }
}

/** What can be done without, each with what is said of it where it is refused. */
const OPTIONAL = ["CLIENT", "INFO", "TIME", "XINFO", "MULTI", "EXEC", "PUBSUB"];
// Who is not told about CLIENT needs no INFO, and without MULTI there is no EXEC.
const ALL_SAID = ["CLIENT", "TIME", "XINFO", "MULTI", "PUBSUB"];

// Break when what is optional is needed after all, and when it is not said what one goes without,
// or said again and again.
describe("a node works without the commands that it can do without", () => {
  describe("refused by an ACL", () => {
    for (const commands of [...OPTIONAL.map((command) => [command]), OPTIONAL]) {
      test(commands.join(), async (t) => {
        const redis = await startRedis();
        defer(t, () => redis.stop());
        const admin = await createAdmin(redis);
        defer(t, () => admin.close());
        const rules = ["on", `>${USER.password}`, "~*", "&*", "+@all"];
        const without = commands.map((name) => `-${name.toLowerCase()}`);
        await admin.command("ACL", "SETUSER", USER.username, ...rules, ...without);
        const two = await startTwo(t, { host: redis.host, port: redis.port, ...USER });
        await two.assertWorks();
        const said = commands === OPTIONAL ? ALL_SAID : commands;
        await assertSaid(said, /NOPERM.*; grant .*, or go without: /);
        await two.assertWorks();
        assert.deepEqual(two.counter("failed"), [0, 0], "failed");
      });
    }
  });

  describe("unknown to the server", () => {
    const EVERYTHING = [...OPTIONAL, IN_RESP2];
    for (const commands of [...EVERYTHING.map((command) => [command]), EVERYTHING]) {
      test(commands.join(), async (t) => {
        const args = ["--requirepass", USER.password, ...renamed(commands)];
        const redis = await startRedis({ args });
        defer(t, () => redis.stop());
        const { password } = USER;
        const two = await startTwo(t, { host: redis.host, port: redis.port, password });
        await two.assertWorks();
        const said = commands === EVERYTHING ? [...ALL_SAID, IN_RESP2] : commands;
        await assertSaid(said, /unknown command.*; it can be done without: /);
        await two.assertWorks();
        assert.deepEqual(two.counter("failed"), [0, 0], "failed");
      });
    }
  });

  for (const start of [startRedis, startRedisCluster]) {
    test(`HELLO, with sharded PUB/SUB: ${start.name}`, async (t) => {
      const redis = await start({ args: renamed([IN_RESP2]) });
      defer(t, () => redis.stop());
      const settings = start === startRedis ? redis.url : { cluster: { nodes: [redis.url] } };
      const two = await startTwo(t, settings, { useShardedPubSub: true });
      await two.assertWorks();
      await assertSaid([IN_RESP2], /unknown command.*; it can be done without: /);
    });
  }

  test("ROLE, with sentinels", async (t) => {
    const sentinel = await startRedisSentinel();
    defer(t, () => sentinel.stop());
    const admins = await Promise.all(sentinel.servers.map((server) => createAdmin(server)));
    defer(t, () => Promise.all(admins.map((admin) => admin.close())));
    const rules = ["on", `>${USER.password}`, "~*", "&*", "+@all", "-role"];
    for (const admin of admins) {
      await admin.command("ACL", "SETUSER", USER.username, ...rules);
    }
    const { name, nodes } = sentinel;
    const two = await startTwo(t, { sentinel: { name, nodes }, ...USER });
    await two.assertWorks();
    await assertSaid(["ROLE"], /NOPERM.*; grant .*, or go without: /);
    await two.assertWorks();
  });

  // Breaks when a batch that EXEC has refused is taken for written, or is written twice.
  test("EXEC, while the node emits: everything reaches everyone once", async (t) => {
    const redis = await startRedis();
    defer(t, () => redis.stop());
    const admin = await createAdmin(redis);
    defer(t, () => admin.close());
    const rules = ["on", `>${USER.password}`, "~*", "&*", "+@all"];
    await admin.command("ACL", "SETUSER", USER.username, ...rules);
    const two = await startTwo(t, { host: redis.host, port: redis.port, ...USER });
    await two.assertWorks();
    two.traffic.start(1);
    defer(t, () => two.traffic.stop());
    await two.traffic.flows();
    await admin.command("ACL", "SETUSER", USER.username, "-exec");
    await waitFor(() => two.counter("reconnects").every((count) => count > 0));
    await two.traffic.flows();
    two.traffic.stop();
    await two.traffic.assertComplete();
    assert.deepEqual(two.counter("failed"), [0, 0], "failed");
    takeWarnings();
  });
});

describe("a server without RESP3", () => {
  /** @param {import("node:test").TestContext} t @param {Record<string, unknown>} [adapterOptions] */
  async function start(t, adapterOptions) {
    const redis = await startRedis({ args: renamed([IN_RESP2]) });
    defer(t, () => redis.stop());
    const admin = await createAdmin(redis);
    defer(t, () => admin.close());
    const settings = { host: redis.host, port: redis.port, clientName: "chat" };
    const two = await startTwo(t, settings, adapterOptions);
    await two.areWhole();
    const connections = async () => {
      /** @type {string} */
      const list = await admin.command("CLIENT", "LIST");
      return list.split("\n").filter((line) => / name=chat /.test(line));
    };
    return { redis, admin, two, connections };
  }

  test("takes one connection more", async (t) => {
    const { two, connections } = await start(t);
    await two.assertPackets();
    const subscribed = (await connections()).filter((line) => / sub=3 /.test(line));
    assert.equal(subscribed.length, 2, "one for the subscriptions of each node");
    // Those for sessions are made when there is one.
    const expected = "reads, writes, sessions, subscriptions, commands";
    await waitFor(async () => (await connections()).length >= 2 * 5, { what: expected });
    assert.equal((await connections()).length, 2 * 5, expected);
  });

  /** @param {import("./two-nodes").Two} two */
  const answersAgain = (two) =>
    waitFor(
      async () => {
        const sockets = await two.ios[0]
          .timeout(300)
          .fetchSockets()
          .catch(() => []);
        return sockets.length === 2;
      },
      { timeout: 15_000, what: "requests to be answered again" },
    );

  // Breaks when only one of the two connections is looked after. No heartbeat comes to help.
  test("either connection breaks: requests are answered again", async (t) => {
    const options = { heartbeatInterval: 30_000, heartbeatTimeout: 60_000 };
    const { admin, two, connections } = await start(t, options);
    for (const pattern of [/ sub=3 /, / cmd=(publish|pubsub\|numsub) /]) {
      const lines = (await connections()).filter((line) => pattern.test(line));
      assert.equal(lines.length, 2, `${pattern} in ${await connections()}`);
      for (const line of lines) {
        const [, id] = /** @type {RegExpExecArray} */ (/^id=(\d+) /.exec(line));
        await admin.command("CLIENT", "KILL", "ID", id);
      }
      await answersAgain(two);
    }
    await two.assertWorks();
    takeWarnings();
  });

  // Breaks when nobody asks the one for subscriptions, which says nothing by itself, for a sign of
  // life.
  test("the connection for subscriptions hangs: it is made again", async (t) => {
    const redis = await startRedis({ args: renamed([IN_RESP2]) });
    defer(t, () => redis.stop());
    const proxy = await startProxy(redis.port, ({ notes }, direction, chunk) => {
      notes.isSubscriber ||= direction === "up" && chunk.includes("SUBSCRIBE");
    });
    defer(t, () => proxy.close());
    const two = await startTwo(t, { host: "127.0.0.1", port: proxy.port });
    await two.assertWorks();
    const links = [...proxy.links].filter(({ notes }) => notes.isSubscriber);
    assert.equal(links.length, 2);
    links.forEach((link) => link.stall());
    await answersAgain(two);
    await two.assertWorks();
    takeWarnings();
  });

  test("a namespace that is closed is not listened to any more", async (t) => {
    const { admin, two } = await start(t);
    const listeners = async () => (await admin.command("PUBSUB", "NUMSUB", "socket.io#/x#"))[1];
    two.ios.forEach((io) => io.of("/x"));
    await waitFor(async () => (await listeners()) === 2, { what: "two to listen" });
    const adapter = /** @type {any} */ (two.ios[0].of("/x").adapter);
    await adapter.close();
    await waitFor(async () => (await listeners()) === 1, { what: "one to listen" });
  });

  test("a wrong password is no lack of RESP3", async (t) => {
    const redis = await startRedis({ args: ["--requirepass", "another"] });
    defer(t, () => redis.stop());
    const two = await startTwo(t, { host: redis.host, port: redis.port, password: USER.password });
    await waitFor(() => warnings.length >= 2, { what: "a warning of each node" });
    await settle(500);
    const codes = takeWarnings().map(({ code }) => code);
    assert.deepEqual(codes, ["ERR_SIO_REDIS_AUTH", "ERR_SIO_REDIS_AUTH"]);
    assert.equal(two.nodes.length, 2);
  });
});

describe("a server that turns everybody away says why", () => {
  /**
   * Breaks when its words are lost because it hangs up right after them, when they count as a
   * refusal (packets go to local clients only), and when each attempt says them.
   *
   * @param {import("node:test").TestContext} t
   * @param {{ host: string, port: number }} settings
   * @param {import("../helpers/clients").Admin} admin
   * @param {object} ways
   * @param {RegExp} ways.words
   * @param {() => Promise<unknown>} ways.refuse
   * @param {() => Promise<unknown>} ways.permit
   */
  async function assertTurnedAway(t, settings, admin, { words, refuse, permit }) {
    const two = await startTwo(t, settings);
    await two.assertWorks();
    for (let round = 0; round < 2; round++) {
      takeWarnings();
      await refuse();
      for (const type of ["normal", "pubsub"]) {
        await admin.command("CLIENT", "KILL", "TYPE", type);
      }
      two.traffic.emit(0);
      two.traffic.emit(1);
      const itsWords = () => warnings.filter(({ message }) => words.test(message));
      await waitFor(() => itsWords().length >= 2, {
        what: () => `what the server says, not ${JSON.stringify(warnings, null, 1)}`,
      });
      await settle(1_000);
      assert.equal(itsWords().length, 2, "once by each node");
      // That the connections from before are lost was said as well.
      const others = warnings.filter(({ code }) => code !== "ERR_SIO_REDIS_CONNECTION");
      assert.deepEqual(others, []);
      assert.ok(warnings.length <= 4, JSON.stringify(warnings, null, 1));
      await permit();
      await two.traffic.assertComplete();
      await two.assertWorks();
    }
    assert.deepEqual(two.counter("failed"), [0, 0], "failed");
    assert.deepEqual(two.counter("lost"), [0, 0], "lost");
    takeWarnings();
  }

  test("maxclients", async (t) => {
    const redis = await startRedis();
    defer(t, () => redis.stop());
    const admin = await createAdmin(redis);
    defer(t, () => admin.close());
    const allow = (/** @type {number} */ count) =>
      admin.command("CONFIG", "SET", "maxclients", count);
    await assertTurnedAway(t, { host: redis.host, port: redis.port }, admin, {
      words: /ERR max number of clients reached/,
      refuse: () => allow(1),
      permit: () => allow(1_000),
    });
  });

  test("protected mode", { skip: process.platform !== "linux" && "127.0.0.2" }, async (t) => {
    const AWAY = "127.0.0.2"; // of this machine, and yet from elsewhere for Redis
    const redis = await startRedis({
      args: ["--bind", "127.0.0.1", AWAY, "--protected-mode", "no"],
    });
    defer(t, () => redis.stop());
    const admin = await createAdmin(redis);
    defer(t, () => admin.close());
    const proxy = await startProxy({ port: redis.port, host: AWAY, localAddress: AWAY });
    defer(t, () => proxy.close());
    const set = (/** @type {string} */ value) =>
      admin.command("CONFIG", "SET", "protected-mode", value);
    await assertTurnedAway(t, proxy.redis, admin, {
      words: /DENIED .*protected mode/,
      refuse: () => set("yes"),
      permit: () => set("no"),
    });
  });
});

describe("a master that became a replica", () => {
  // READONLY for who writes, MASTERDOWN for who reads. Breaks when one of them is a refusal (packets
  // go to local clients only), or is said by each attempt.
  test("for a moment: everything reaches everyone when it is over", async (t) => {
    const redis = await startRedis({ args: ["--replica-serve-stale-data", "no"] });
    defer(t, () => redis.stop());
    const admin = await createAdmin(redis);
    defer(t, () => admin.close());
    const two = await startTwo(t, { host: redis.host, port: redis.port });
    await two.assertWorks();
    await admin.command("REPLICAOF", "127.0.0.1", 1);
    two.traffic.emit(0);
    two.traffic.emit(1);
    await waitFor(() => warnings.length >= 2, { what: "a warning of each node" });
    await settle(1_000);
    const said = takeWarnings();
    assert.deepEqual(
      said.map(({ code }) => code),
      ["ERR_SIO_REDIS_UNAVAILABLE", "ERR_SIO_REDIS_UNAVAILABLE"],
      JSON.stringify(said, null, 1),
    );
    for (const { message } of said) {
      assert.match(message, /READONLY|MASTERDOWN|UNBLOCKED/);
      assert.match(message, /is not the master any more/);
    }
    await admin.command("REPLICAOF", "NO", "ONE");
    await two.traffic.assertComplete();
    await two.assertWorks();
    assert.deepEqual(two.counter("failed"), [0, 0], "failed");
    assert.deepEqual(two.counter("lost"), [0, 0], "lost");
    takeWarnings();
  });
});

// The ways of managed services and proxies: commands that are refused or renamed, connections that
// are closed because they were idle or one too many, servers that do not know RESP3.

"use strict";

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const net = require("node:net");
const { describe, test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { startNodeOn } = require("../helpers/node");
const { startRedisCluster } = require("../helpers/redis-cluster");
const { startRedisSentinel } = require("../helpers/redis-sentinel");
const { ask, startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { once, settle, waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const { startProxy } = require("./tcp-proxy");
const { EVENT, Traffic } = require("./traffic");
const { takeWarnings, warnings } = require("./warnings");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const OPTIONS = { heartbeatInterval: 300, heartbeatTimeout: 3_000 };
const USER = { username: "app", password: "hunter2-7f3a" };
/** Long enough for whatever is done once a second to be done twice. */
const REPETITION = 2_200;

/**
 * Two nodes, with a client each, on servers that may refuse things.
 *
 * @param {import("node:test").TestContext} t
 * @param {any} settings
 * @param {Record<string, unknown>} [adapterOptions]
 * @param {number[]} [ports] of the servers
 */
async function startTwo(t, settings, adapterOptions, ports = [settings.port]) {
  takeWarnings();
  const nodes = [];
  for (const index of [0, 1]) {
    const node = await startNodeOn(
      { adapterArgument: settings, close: async () => {} },
      {
        index,
        adapterOptions: { ...OPTIONS, ...adapterOptions },
        serverOptions: { connectionStateRecovery: {} },
      },
    );
    defer(t, () => node.close());
    nodes.push(node);
  }
  const clients = await Promise.all(nodes.map(({ url }) => connectClient(url)));
  defer(t, () => clients.forEach((client) => client.disconnect()));
  clients.forEach(({ socket }, place) => socket.on("ask", (answer) => answer(place)));
  const needsLogin = settings.password && !settings.username;
  const login = needsLogin ? [`AUTH ${settings.password}`] : [];
  const sessions = async () => {
    const commands = [...login, "KEYS sio:session:*"];
    const replies = await Promise.all(ports.map((port) => ask(port, commands, /\*(\d+)\r\n/)));
    return replies.reduce((sum, [, count]) => sum + Number(count), 0);
  };
  return new Two(nodes, clients, sessions);
}

class Two {
  /**
   * @param {import("../helpers/node").SocketIoNode[]} nodes
   * @param {SocketClient[]} clients
   * @param {() => Promise<number>} sessions how many are saved
   */
  constructor(nodes, clients, sessions) {
    this.nodes = nodes;
    this.sessions = sessions;
    this.clients = clients;
    this.ios = nodes.map(({ io }) => io);
    /** @type {any[]} */
    this.adapters = this.ios.map((io) => io.of("/").adapter);
    this.traffic = new Traffic(this.ios, clients);
  }

  /** Waits until the nodes see each other. */
  async areWhole() {
    /** @type {number[]} */
    let counts = [];
    const whole = async () => {
      counts = await Promise.all(this.adapters.map((adapter) => adapter.serverCount()));
      // Who is counted may not read yet.
      const isReading = this.counter("position").every((position) => position !== undefined);
      return isReading && counts.every((count) => count === 2);
    };
    await waitFor(whole, { interval: 20, what: () => `two servers, not ${counts}` });
  }

  /** Asserts that requests are answered, without a second try. */
  async assertRequests() {
    assert.equal((await this.ios[0].fetchSockets()).length, 2, "fetchSockets");
    const answers = await this.ios[1].timeout(2_000).emitWithAck("ask");
    assert.deepEqual(answers.sort(), [0, 1], "answers");
  }

  /** Asserts that packets cross, alone and in batches, each once and in one order. */
  async assertPackets() {
    for (let batch = 0; batch < 5; batch++) {
      for (let i = 0; i < 10; i++) {
        this.traffic.emit(0);
        this.traffic.emit(1);
      }
      await this.traffic.assertComplete();
      this.traffic.emit(batch % 2);
      await this.traffic.assertComplete();
    }
  }

  /** Asserts that a client of one node that comes back to the other one has missed nothing. */
  async assertRecovery() {
    const visitor = await connectClient(this.nodes[0].url);
    this.traffic.emit(0);
    await visitor.receives(EVENT);
    visitor.cut();
    await waitFor(() => this.ios[0].of("/").sockets.size === 1);
    this.traffic.emit(1);
    await this.traffic.assertComplete();
    await waitFor(async () => (await this.sessions()) > 0, { what: "its session to be saved" });
    await visitor.reconnect(this.nodes[1].url);
    assert.equal(visitor.socket.recovered, true, "recovered");
    await visitor.receives(EVENT, 2);
    visitor.disconnect();
    await waitFor(() => this.ios[1].of("/").sockets.size === 1);
  }

  async assertWorks() {
    await this.areWhole();
    await this.assertPackets();
    await this.assertRequests();
    await this.assertRecovery();
  }

  /** @param {string} name of a counter */
  counter(name) {
    return this.adapters.map((adapter) => adapter.stats()[name]);
  }
}

/**
 * Asserts that each of these commands was said to be refused by either node once, and nothing else.
 *
 * @param {string[]} commands
 * @param {RegExp} advice
 */
async function assertSaid(commands, advice) {
  const names = () => warnings.map(({ message }) => /refused ([A-Z]+) /.exec(message)?.[1]);
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
/** HELLO needs no right. */
const IN_RESP2 = "HELLO";
// Who is not told about CLIENT needs no INFO, and without MULTI there is no EXEC.
const ALL_SAID = ["CLIENT", "TIME", "XINFO", "MULTI", "PUBSUB"];

/** @param {string[]} commands */
const renamed = (commands) => commands.flatMap((name) => ["--rename-command", name, ""]);

// Break when what is optional is needed after all, and when it is not said what one goes without,
// or said again and again.
describe("a command that is not needed is refused", () => {
  describe("by an ACL", () => {
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

  describe("because the server does not know it", () => {
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
    const ports = sentinel.servers.map(({ port }) => port);
    const two = await startTwo(t, { sentinel: { name, nodes }, ...USER }, {}, ports);
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
    assert.equal((await connections()).length, 2 * 4, "reads, writes, subscriptions, commands");
  });

  /** @param {Two} two */
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
    links.forEach((link) => (link.stalled = true));
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

const onLinux = { skip: process.platform !== "linux" && "looks into /proc" };
describe("idle connections are closed by the server", onLinux, () => {
  const TIMEOUT = 2;

  /** Waits until this process has noticed as well. @param {number[]} ports of the servers */
  async function isNoticed(ports) {
    const CLOSE_WAIT = "08"; // closed by the other side only
    const ends = ports.map((port) => port.toString(16).toUpperCase().padStart(4, "0"));
    const left = () =>
      readFileSync("/proc/self/net/tcp", "utf8")
        .split("\n")
        .map((line) => line.trim().split(/\s+/))
        .filter(([, , to, state]) => state === CLOSE_WAIT && ends.includes(to.split(":")[1]));
    await waitFor(() => left().length === 0, { what: "the ends of connections to be noticed" });
  }

  /**
   * Breaks when such a connection is missed before it is needed, or its end is said.
   *
   * @param {import("node:test").TestContext} t
   * @param {any} settings
   * @param {() => Promise<string[]>} lists CLIENT LIST of each server
   * @param {RegExp} idle what those look like that are not used for a while
   * @param {number[]} ports of the servers
   */
  async function assertUnnoticed(t, settings, lists, idle, ports) {
    const options = { heartbeatInterval: 5_000, heartbeatTimeout: 20_000 };
    const two = await startTwo(t, settings, options, ports);
    const count = async () =>
      (await lists())
        .join("")
        .split("\n")
        .filter((line) => idle.test(line));
    for (let round = 0; round < 2; round++) {
      await two.assertWorks();
      assert.ok((await count()).length > 0, "there are connections that will be idle");
      await waitFor(async () => (await count()).length === 0, {
        timeout: 20_000,
        interval: 100,
        what: () => "them to be closed",
      });
      await isNoticed(ports);
      await two.assertRequests();
      await two.assertRecovery();
    }
    await two.assertPackets();
    assert.deepEqual(takeWarnings(), []);
    assert.deepEqual(two.counter("reconnects"), [0, 0]);
    assert.deepEqual(two.counter("dropped"), [0, 0]);
  }

  const SESSIONS = / cmd=(get|set|del|xrange|xrevrange) /;

  test("those for sessions", async (t) => {
    const redis = await startRedis({ args: ["--timeout", String(TIMEOUT)] });
    defer(t, () => redis.stop());
    const admin = await createAdmin(redis);
    defer(t, () => admin.close());
    const settings = { host: redis.host, port: redis.port };
    await assertUnnoticed(t, settings, async () => [await list(admin)], SESSIONS, [redis.port]);
  });

  test("those for commands beside the subscriptions in RESP2", async (t) => {
    const redis = await startRedis({
      args: ["--timeout", String(TIMEOUT), ...renamed([IN_RESP2])],
    });
    defer(t, () => redis.stop());
    const admin = await createAdmin(redis);
    defer(t, () => admin.close());
    const settings = { host: redis.host, port: redis.port };
    const two = await startTwo(t, settings, { heartbeatInterval: 5_000, heartbeatTimeout: 20_000 });
    await two.assertWorks();
    takeWarnings(); // of the lack of RESP3
    const idle = async () => / cmd=(publish|pubsub\|numsub) /.test(await list(admin));
    assert.ok(await idle(), "there are connections that will be idle");
    await waitFor(async () => !(await idle()), { timeout: 20_000, what: "them to be closed" });
    await isNoticed([redis.port]);
    await two.assertRequests();
    assert.deepEqual(takeWarnings(), []);
    assert.deepEqual(two.counter("reconnects"), [0, 0]);
  });

  test("those to the nodes of a Redis Cluster", async (t) => {
    const redis = await startRedisCluster({ args: ["--timeout", String(TIMEOUT)] });
    defer(t, () => redis.stop());
    const admins = await Promise.all(redis.nodes.map((node) => createAdmin(node)));
    defer(t, () => Promise.all(admins.map((admin) => admin.close())));
    const nodes = redis.nodes.map(({ host, port }) => ({ host, port }));
    const idle = / cmd=(get|set|del|xrange|xrevrange|pubsub\|numsub) /;
    const lists = () => Promise.all(admins.map((admin) => list(admin)));
    await assertUnnoticed(t, { cluster: { nodes } }, lists, idle, redis.ports);
  });

  /** @param {import("../helpers/clients").Admin} admin @returns {Promise<string>} */
  const list = (admin) => admin.command("CLIENT", "LIST");
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
      assert.ok(warnings.every(({ code }) => code === "ERR_SIO_REDIS_CONNECTION"));
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
    const proxy = net.createServer((client) => {
      const server = net.connect({ port: redis.port, host: AWAY, localAddress: AWAY });
      client.pipe(server).pipe(client);
      for (const socket of [client, server]) {
        socket.on("error", () => {}); // "close" follows
        socket.on("close", () => [client, server].forEach((end) => end.destroySoon()));
      }
    });
    proxy.listen(0, "127.0.0.1");
    defer(t, () => proxy.close());
    await once(proxy, "listening");
    const { port } = /** @type {net.AddressInfo} */ (proxy.address());
    const set = (/** @type {string} */ value) =>
      admin.command("CONFIG", "SET", "protected-mode", value);
    await assertTurnedAway(t, { host: "127.0.0.1", port }, admin, {
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
    assert.match(said[0].message, /READONLY|MASTERDOWN|UNBLOCKED/);
    await admin.command("REPLICAOF", "NO", "ONE");
    await two.traffic.assertComplete();
    await two.assertWorks();
    assert.deepEqual(two.counter("failed"), [0, 0], "failed");
    assert.deepEqual(two.counter("lost"), [0, 0], "lost");
    takeWarnings();
  });
});

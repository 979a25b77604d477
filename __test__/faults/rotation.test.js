// Credentials that change while connections stand: each connection is authenticated again, before
// the old user goes, and nobody notices.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { createClient } = require("redis");
const { createAdmin } = require("../helpers/clients");
const { startNodeOn } = require("../helpers/node");
const { ENDED_SESSIONS } = require("../helpers/recovery");
const { startRedisCluster } = require("../helpers/redis-cluster");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { settle, waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const { Traffic } = require("./traffic");
const { takeWarnings, warnings } = require("./warnings");

/** @typedef {import("../../index").Credentials} Credentials */

/** ms between two packets of a node */
const RATE = 5;
const OPTIONS = { heartbeatInterval: 300, heartbeatTimeout: 3_000, maxLen: 100_000 };
/** No message may hold one. */
const SECRET = "hunter2-7f3a";

/** A streaming credentials provider of node-redis, whose user the tests change. */
class Provider {
  type = /** @type {const} */ ("streaming-credentials-provider");
  /** @type {Set<{ onNext(credentials: Credentials): void, onError(error: Error): void }>} */
  listeners = new Set();
  /** @param {Credentials} current */
  constructor(current) {
    this.current = current;
  }

  /** @param {{ onNext(credentials: Credentials): void, onError(error: Error): void }} listener */
  async subscribe(listener) {
    this.listeners.add(listener);
    const dispose = () => void this.listeners.delete(listener);
    return /** @type {[Credentials, { dispose(): void }]} */ ([this.current, { dispose }]);
  }

  onReAuthenticationError() {}

  /** @param {Credentials} credentials */
  rotate(credentials) {
    this.current = credentials;
    this.listeners.forEach(({ onNext }) => onNext(credentials));
  }

  /** @param {Error} error */
  fail(error) {
    this.listeners.forEach(({ onError }) => onError(error));
  }
}

/** What the tests do to the servers: one, or all nodes of a cluster. */
class Servers {
  /** @param {import("../helpers/clients").Admin[]} admins */
  constructor(admins) {
    this.admins = admins;
  }

  /** @param {import("node:test").TestContext} t @param {any[]} servers */
  static async of(t, servers) {
    const admins = await Promise.all(servers.map((server) => createAdmin(server)));
    defer(t, () => Promise.all(admins.map((admin) => admin.close())));
    return new Servers(admins);
  }

  /** @param {string[]} args */
  everywhere(...args) {
    return Promise.all(this.admins.map((admin) => admin.command(...args)));
  }

  /** @param {string} username @returns {Promise<Credentials>} */
  async addUser(username) {
    const password = `${SECRET}-${username}`;
    await this.everywhere("ACL", "SETUSER", username, "on", `>${password}`, "~*", "&*", "+@all");
    return { username, password };
  }

  /**
   * The adapters' connections.
   *
   * @returns {Promise<{ id: string, user: string, command: string, isSubscribed: boolean }[]>} `id` is `server:client`
   */
  async connections() {
    const lists = await this.everywhere("CLIENT", "LIST");
    const connections = lists.flatMap((list, server) =>
      [...list.matchAll(/^id=(\d+) .* sub=(\d+) .* cmd=(\S+) user=(\S+)/gm)].map(
        ([, id, channels, command, user]) => ({
          id: `${server}:${id}`,
          user,
          command,
          isSubscribed: channels !== "0",
        }),
      ),
    );
    return connections.filter(({ user }) => user !== "default" && user !== "(superuser)");
  }

  /** Waits until a client that was cut can come back: its node saves the session on its own. */
  async haveSession() {
    const keys = () => this.everywhere("KEYS", ENDED_SESSIONS);
    await waitFor(async () => (await keys()).flat().length > 0, { what: "a session to be saved" });
  }

  /** Those that stay: where keys are is asked for on connections that do not. */
  async lasting() {
    const connections = await this.connections();
    return connections
      .filter(({ command }) => !/^(NULL|auth|hello|cluster\|slots)$/.test(command))
      .map(({ id }) => id);
  }

  /**
   * Waits until all connections are those of `user`, and asserts that none was made anew.
   *
   * @param {string} user
   * @param {string[]} [before] the connections that stood
   */
  async areAllOf(user, before = []) {
    let connections = await this.connections();
    await waitFor(
      async () => {
        connections = await this.connections();
        return connections.every((connection) => connection.user === user);
      },
      { interval: 20, what: () => `${user}'s connections: ${JSON.stringify(connections)}` },
    );
    const gone = before.filter((id) => !connections.some((connection) => connection.id === id));
    assert.deepEqual(gone, [], "connections that ended");
  }
}

/**
 * Three nodes that emit, each connection of which is open.
 *
 * @param {import("node:test").TestContext} t
 * @param {Servers} servers
 * @param {any[]} inputs what `createAdapter` gets, one for each node
 * @param {Record<string, unknown>} [adapterOptions]
 */
async function startEmitting(t, servers, inputs, adapterOptions) {
  takeWarnings();
  const nodes = await Promise.all(
    inputs.map((adapterArgument, index) =>
      startNodeOn(
        { adapterArgument, close: async () => {} },
        {
          index,
          adapterOptions: { ...OPTIONS, ...adapterOptions },
          serverOptions: { connectionStateRecovery: {} },
        },
      ),
    ),
  );
  defer(t, () => Promise.all(nodes.map((node) => node.close())));
  const clients = await Promise.all(nodes.map(({ url }) => connectClient(url)));
  defer(t, () => clients.forEach((client) => client.disconnect()));
  /** @type {any[]} */
  const adapters = nodes.map(({ io }) => io.of("/").adapter);
  const whole = async () => {
    const counts = await Promise.all(adapters.map((adapter) => adapter.serverCount()));
    // Who is counted may not read yet.
    const isReading = adapters.every((adapter) => adapter.stats().position !== undefined);
    return isReading && counts.every((count) => count === nodes.length);
  };
  const isWhole = () => waitFor(whole, { what: "the nodes to see each other" });
  await isWhole();
  const traffic = new Traffic(
    nodes.map(({ io }) => io),
    clients,
  );
  traffic.start(RATE);
  defer(t, () => traffic.stop());
  await traffic.flows();
  for (const [index, { io, url }] of nodes.entries()) {
    // Sessions have connections of their own.
    const visitor = await connectClient(url);
    await visitor.receives("numbered");
    visitor.cut();
    await waitFor(() => io.of("/").sockets.size === 1);
    await servers.haveSession();
    await visitor.reconnect(nodes[(index + 1) % nodes.length].url);
    const stats = () => JSON.stringify(adapters.map((adapter) => adapter.stats()));
    assert.ok(visitor.socket.recovered, `recovered: ${stats()}`);
    visitor.disconnect();
  }
  return {
    nodes,
    traffic,
    isWhole,
    reconnects: () => adapters.map((adapter) => adapter.stats().reconnects),
    async assertNothingLost() {
      await traffic.flows();
      assert.equal((await nodes[0].io.fetchSockets()).length, nodes.length, "fetchSockets");
      traffic.stop();
      await traffic.assertComplete();
      for (const adapter of adapters) {
        const { lost, failed, doubtful, doubled, dropped } = adapter.stats();
        assert.deepEqual([lost, failed, doubtful, doubled, dropped], [0, 0, 0, 0, 0], "counters");
      }
    },
  };
}

/** A server with its admin. @param {import("node:test").TestContext} t */
async function startServer(t) {
  const redis = await startRedis();
  defer(t, () => redis.stop());
  return { redis, servers: await Servers.of(t, [redis]) };
}

/** @param {RegExp} message */
async function assertOneWarning(message) {
  await waitFor(() => warnings.length > 0, { what: `a warning ${message}` });
  await settle();
  const said = takeWarnings();
  assert.equal(said.length, 1, JSON.stringify(said));
  assert.match(said[0].message, message);
  assert.ok(!said[0].message.includes(SECRET), "no secret is said");
  return said[0].code;
}

describe("new credentials", () => {
  // Breaks when a connection is not authenticated again (it ends with its user), when another one
  // is made in its place, and when AUTH gets between a command and its reply.
  test("reach all connections before the old user is deleted", async (t) => {
    const { redis, servers } = await startServer(t);
    const provider = new Provider(await servers.addUser("first"));
    const socket = { host: redis.host, port: redis.port };
    const settings = { ...socket, credentials: provider };
    const client = createClient({ socket, credentialsProvider: provider });
    const emitting = await startEmitting(t, servers, [settings, settings, client]);
    const connections = await servers.lasting();
    assert.equal(connections.length, 3 * 4, "reader, writer, PUB/SUB and sessions");

    let old = "first";
    for (const user of ["second", "third"]) {
      provider.rotate(await servers.addUser(user));
      await servers.areAllOf(user, connections);
      await servers.everywhere("ACL", "DELUSER", old);
      old = user;
      await emitting.traffic.flows();
    }
    assert.deepEqual(emitting.reconnects(), [0, 0, 0]);
    await servers.areAllOf("third", connections);
    await emitting.assertNothingLost();
    assert.deepEqual(takeWarnings(), []);
  });

  test("reach all connections to a Redis Cluster", async (t) => {
    const redis = await startRedisCluster();
    defer(t, () => redis.stop());
    const servers = await Servers.of(t, redis.nodes);
    const provider = new Provider(await servers.addUser("first"));
    const nodes = redis.nodes.map(({ host, port }) => ({ host, port }));
    for (const useShardedPubSub of [false, true]) {
      await t.test(`${useShardedPubSub ? "" : "no "}sharded PUB/SUB`, async (t) => {
        const [old, user] = useShardedPubSub ? ["second", "third"] : ["first", "second"];
        const settings = { cluster: { nodes }, credentials: provider };
        const emitting = await startEmitting(t, servers, [settings, settings, settings], {
          useShardedPubSub,
        });
        const connections = await servers.lasting();

        provider.rotate(await servers.addUser(user));
        await servers.areAllOf(user, connections);
        await servers.everywhere("ACL", "DELUSER", old);
        await emitting.traffic.flows();
        assert.deepEqual(emitting.reconnects(), [0, 0, 0]);
        await emitting.assertNothingLost();
        assert.deepEqual(takeWarnings(), []);
      });
    }
  });

  // A connection in RESP2 that is subscribed takes no AUTH: it ends with its user.
  test("without RESP3: what is subscribed is made again, nothing is lost", async (t) => {
    const redis = await startRedis({ args: ["--rename-command", "HELLO", ""] });
    defer(t, () => redis.stop());
    const servers = await Servers.of(t, [redis]);
    const provider = new Provider(await servers.addUser("first"));
    const settings = { host: redis.host, port: redis.port, credentials: provider };
    const emitting = await startEmitting(t, servers, [settings, settings, settings]);
    provider.rotate(await servers.addUser("second"));
    await waitFor(
      async () => {
        const connections = await servers.connections();
        const old = connections.filter(({ user }) => user === "first");
        return old.length === 3 && old.every(({ isSubscribed }) => isSubscribed);
      },
      { interval: 20, what: "all but the subscriptions to be the second user's" },
    );
    await servers.everywhere("ACL", "DELUSER", "first");
    await waitFor(() => emitting.reconnects().every((count) => count === 1), {
      what: () => `one connection of each to be made again, not ${emitting.reconnects()}`,
    });
    await servers.areAllOf("second");
    await emitting.isWhole();
    await emitting.assertNothingLost();
    const codes = takeWarnings().map(({ code }) => code);
    assert.ok(!codes.includes("ERR_SIO_REDIS_AUTH"), "nothing that takes no AUTH is sent one");
  });

  test("that Redis refuses are said once, and the connections go on", async (t) => {
    const { redis, servers } = await startServer(t);
    const first = await servers.addUser("first");
    const provider = new Provider(first);
    const settings = { host: redis.host, port: redis.port, credentials: provider };
    const emitting = await startEmitting(t, servers, [settings, settings, settings]);
    const connections = await servers.lasting();

    provider.rotate({ username: "nobody", password: SECRET });
    await waitFor(() => warnings.length >= 3, { what: "a warning of each node" });
    await settle(1_500); // each connection has been asked to by now
    const said = takeWarnings();
    assert.deepEqual(
      said.map(({ code }) => code),
      Array(3).fill("ERR_SIO_REDIS_AUTH"),
    );
    assert.ok(said.every(({ message }) => /WRONGPASS/.test(message) && !message.includes(SECRET)));
    await emitting.traffic.flows();
    await servers.areAllOf("first", connections);

    provider.rotate(await servers.addUser("second"));
    await servers.areAllOf("second", connections);
    assert.deepEqual(emitting.reconnects(), [0, 0, 0]);
    await emitting.assertNothingLost();
    assert.deepEqual(takeWarnings(), []);
  });

  test("come too late: connections are made again with them, and nothing is lost", async (t) => {
    const { redis, servers } = await startServer(t);
    const provider = new Provider(await servers.addUser("first"));
    const settings = { host: redis.host, port: redis.port, credentials: provider };
    const emitting = await startEmitting(t, servers, [settings, settings, settings]);

    provider.current = await servers.addUser("second"); // without a word
    await servers.everywhere("ACL", "DELUSER", "first");
    await emitting.traffic.flows();
    await servers.areAllOf("second");
    emitting.traffic.stop();
    await emitting.traffic.assertComplete();
    takeWarnings();
  });
});

describe("a provider", () => {
  test("that fails is said once, in its own words", async (t) => {
    const { redis, servers } = await startServer(t);
    const provider = new Provider(await servers.addUser("first"));
    const settings = { host: redis.host, port: redis.port, credentials: provider };
    const emitting = await startEmitting(t, servers, [settings]);
    for (let times = 0; times < 2; times++) {
      provider.fail(new Error("the vault is sealed"));
    }
    const failed = /credentials provider has failed: the vault is sealed/;
    assert.equal(await assertOneWarning(failed), "ERR_SIO_REDIS_CONNECTION");
    provider.rotate(/** @type {any} */ ({ username: 1 }));
    await settle();
    assert.deepEqual(takeWarnings(), [], "it goes on to fail");
    provider.rotate(await servers.addUser("second"));
    await servers.areAllOf("second");
    provider.rotate(/** @type {any} */ (undefined));
    assert.equal(await assertOneWarning(/must give an object/), "ERR_SIO_REDIS_CONNECTION");
    await emitting.assertNothingLost();
  });

  test("is let go of when the adapter closes", async (t) => {
    const { redis, servers } = await startServer(t);
    const provider = new Provider(await servers.addUser("first"));
    const settings = { host: redis.host, port: redis.port, credentials: provider };
    const { nodes } = await startEmitting(t, servers, [settings, settings]);
    assert.equal(provider.listeners.size, 2, "one subscription for each adapter");
    await Promise.all(nodes.map((node) => node.close()));
    await waitFor(() => provider.listeners.size === 0, { what: "no subscription to be left" });
    assert.deepEqual(await servers.connections(), []);
    provider.rotate(await servers.addUser("second"));
  });
});

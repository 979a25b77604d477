// Which inputs are accepted, and what the others are told.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const vm = require("node:vm");

const { connectionSettings } = require("../../lib/connection");
const { disconnect } = require("./versions");

const warn = () => {};
const SECRET = "hunter2";

/**
 * @param {unknown} input
 * @param {RegExp} message
 */
function assertRefused(input, message) {
  assert.throws(
    () => connectionSettings(input, { warn }),
    (error) => {
      assert.ok(error instanceof TypeError);
      assert.equal(/** @type {any} */ (error).code, "ERR_SIO_REDIS_CLIENT");
      assert.match(error.message, message);
      assert.match(error.message, /a URL such as "redis:\/\/localhost:6379"/);
      return true;
    },
  );
}

/**
 * @param {unknown} input
 * @param {string} kind
 */
function assertCarried(input, kind) {
  const settings = /** @type {any} */ (connectionSettings(input, { warn }));
  assert.equal(settings.kind, kind);
  const [node] = settings.nodes ?? settings.sentinel.nodes;
  assert.deepEqual({ host: node.host, port: node.port }, { host: "127.0.0.1", port: 1 });
}

describe("clients of several servers", () => {
  for (const name of ["redis-4", "redis-5", "redis"]) {
    const { createCluster, createSentinel, createClientPool } = require(name);

    test(`${name} cluster`, () => {
      const cluster = createCluster({ rootNodes: [{ url: `redis://:${SECRET}@127.0.0.1:1` }] });
      assertCarried(cluster, "cluster");
    });

    if (createSentinel) {
      test(`${name} sentinel`, () => {
        const sentinel = createSentinel({
          name: "primary",
          sentinelRootNodes: [{ host: "127.0.0.1", port: 1 }],
        });
        if (name === "redis-5") {
          // It keeps its options to itself.
          assert.throws(
            () => connectionSettings(sentinel, { warn }),
            /does not show its options in this version: pass settings such as/,
          );
        } else {
          assertCarried(sentinel, "sentinel");
        }
      });
    }

    if (createClientPool) {
      test(`${name} pool`, () => {
        assert.throws(
          () => connectionSettings(createClientPool(), { warn }),
          /has no idle client to take the settings from: connect first/,
        );
      });
    }
  }

  for (const name of ["ioredis-5", "ioredis", "iovalkey"]) {
    const { Cluster, Redis } = require(name);

    test(`${name} cluster`, () => {
      const cluster = new Cluster([{ host: "127.0.0.1", port: 1 }], { lazyConnect: true });
      assertCarried(cluster, "cluster");
      cluster.disconnect();
    });

    test(`${name} sentinel`, () => {
      const sentinel = new Redis({
        sentinels: [{ host: "127.0.0.1", port: 1 }],
        name: "primary",
        lazyConnect: true,
      });
      assertCarried(sentinel, "sentinel");
      sentinel.disconnect();
    });
  }
});

describe("what is no client", () => {
  class GlideClient {
    customCommand() {}
  }

  /** @type {[string, unknown, RegExp][]} */
  const inputs = [
    ["nothing", undefined, /undefined was passed/],
    ["null", null, /null was passed/],
    ["a number", 6379, /a number was passed/],
    ["a function", () => {}, /a function was passed/],
    ["an array", [`redis://:${SECRET}@localhost`], /an array was passed/],
    ["a promise", Promise.resolve(), /a promise was passed: await it first/],
    ["a client of another kind", new GlideClient(), /an object of class GlideClient was passed/],
  ];
  for (const [name, input, message] of inputs) {
    test(name, () => assertRefused(input, message));
  }

  test("a client created and not awaited", async () => {
    const client = require("redis").createClient({ socket: { port: 1, reconnectStrategy: false } });
    client.on("error", () => {});
    const connected = client.connect();
    assertRefused(connected, /a promise was passed: await it first/);
    await assert.rejects(connected);
    disconnect(client);
  });
});

describe("clients that are wrapped", () => {
  test("a node-redis client with command options", () => {
    const client = require("redis")
      .createClient({ socket: { host: "127.0.0.1", port: 1234 } })
      .withCommandOptions({});
    assert.equal(connectionSettings(client, { warn }).port, 1234);
  });

  test("a duplicate", () => {
    for (const name of ["redis-4", "redis-5", "redis"]) {
      const client = require(name).createClient({ url: "redis://ann:pw@127.0.0.1:1234/2" });
      assert.deepEqual(
        connectionSettings(client.duplicate(), { warn }),
        connectionSettings(client, { warn }),
      );
    }
  });

  test("a client of @redis/client that has no options", () => {
    const { createClient } = require(
      require.resolve("@redis/client", { paths: [require.resolve("redis-4")] }),
    );
    assert.equal(createClient().options, undefined);
    assert.deepEqual(connectionSettings(createClient(), { warn }), {
      kind: "standalone",
      host: "localhost",
      port: 6379,
    });
  });
});

describe("objects of another realm, as test runners make them", () => {
  test("a settings object", () => {
    const settings = vm.runInNewContext('({ host: "127.0.0.1", port: 1234 })');
    assert.equal(connectionSettings(settings, { warn }).port, 1234);
  });

  test("an object without a prototype", () => {
    const settings = Object.assign(Object.create(null), { port: 1234 });
    assert.equal(connectionSettings(settings, { warn }).port, 1234);
  });
});

// Settings out of clients of several servers, and out of settings objects for them.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");

const { connectionSettings } = require("../../lib/connection");
const { startRedis } = require("../helpers/redis-server");

const SECRET = "hunter2";
const NODE_REDIS = ["redis-4", "redis-5", "redis"];
const IOREDIS = ["ioredis-5", "ioredis", "iovalkey"];

/** @param {unknown} input */
function read(input) {
  /** @type {string[]} */
  const warnings = [];
  const settings = connectionSettings(input, { warn: (_, message) => warnings.push(message) });
  return { settings, warnings };
}

/** @param {unknown} input @param {string} code @param {RegExp} message */
function assertRefused(input, code, message) {
  assert.throws(
    () => read(input),
    (/** @type {any} */ error) => {
      assert.equal(error.code, code);
      assert.ok(error instanceof TypeError);
      assert.match(error.message, message);
      assert.ok(!error.message.includes(SECRET));
      return true;
    },
  );
}

const NAT = { "10.0.0.1:6379": { host: "example.org", port: 7000 } };

for (const name of NODE_REDIS) {
  const { createCluster, createSentinel, createClientPool } = require(name);

  describe(`${name} cluster`, () => {
    test("nodes, what is for all of them, and a map of addresses", () => {
      const { settings, warnings } = read(
        createCluster({
          rootNodes: [
            { url: "redis://ann:one@127.0.0.1:7001" },
            { socket: { host: "::1", port: 7002 }, password: "two" },
          ],
          defaults: {
            username: "bob",
            password: SECRET,
            name: "me",
            socket: { connectTimeout: 9 },
          },
          nodeAddressMap: NAT,
        }),
      );
      assert.deepEqual(settings, {
        kind: "cluster",
        nodes: [
          { host: "127.0.0.1", port: 7001, username: "ann", password: "one" },
          { host: "::1", port: 7002, password: "two" },
        ],
        username: "bob",
        password: SECRET,
        clientName: "me",
        connectTimeout: 9,
        natMap: NAT,
      });
      assert.deepEqual(warnings, []);
    });

    // Breaks when the client is left with another prototype than before.
    test("the client stays as it was", () => {
      const cluster = createCluster({ rootNodes: [{ url: "redis://127.0.0.1:7001" }] });
      const prototype = Object.getPrototypeOf(cluster);
      read(cluster);
      assert.equal(Object.getPrototypeOf(cluster), prototype);
      assert.equal(typeof cluster.duplicate().connect, "function");
    });

    // Breaks when nodes that are found are reached without TLS, which no setting asks for.
    test("a start node with rediss:// means TLS for all", () => {
      const { settings } = read(createCluster({ rootNodes: [{ url: "rediss://127.0.0.1:7001" }] }));
      assert.equal(settings.tls?.rejectUnauthorized, true);
      assertRefused(
        createCluster({ rootNodes: [{ url: "rediss://a" }, { url: "redis://b" }] }),
        "ERR_SIO_REDIS_SETTING",
        /`rootNodes` reach some nodes with TLS and some without/,
      );
    });

    test("a client that reads from replicas", () => {
      const rootNodes = [{ url: "redis://127.0.0.1:7001" }];
      const { settings, warnings } = read(createCluster({ rootNodes, useReplicas: true }));
      assert.equal(settings.readFrom, "replica");
      assert.deepEqual(warnings, []);
      const masters = read(createCluster({ rootNodes, useReplicas: false }));
      assert.ok(!("readFrom" in masters.settings));
    });

    test("addresses that are missing in the map are as the servers report them", () => {
      const rootNodes = [{ url: "redis://127.0.0.1:7001" }];
      const map = { ...NAT, "10.0.0.2:6379": undefined, "10.0.0.3:6379": null };
      const { settings } = read(createCluster({ rootNodes, nodeAddressMap: map }));
      assert.deepEqual(settings.natMap, NAT);
    });

    test("what cannot be carried", () => {
      const rootNodes = [{ url: "redis://127.0.0.1:7001" }];
      assertRefused(
        createCluster({ rootNodes, nodeAddressMap: () => undefined }),
        "ERR_SIO_REDIS_SETTING",
        /`nodeAddressMap` must be an object such as/,
      );
    });
  });

  if (createSentinel) {
    describe(`${name} sentinel`, () => {
      const sentinel = (options = {}) =>
        createSentinel({
          ...options,
          name: "primary",
          sentinelRootNodes: [{ host: "127.0.0.1", port: 7001 }],
          nodeClientOptions: { username: "bob", password: SECRET },
          sentinelClientOptions: { password: "of the sentinels", socket: { tls: true } },
          nodeAddressMap: NAT,
        }).on("error", () => {});

      if (name === "redis-5") {
        test("asks for explicit settings: its options are out of reach", () => {
          assertRefused(sentinel(), "ERR_SIO_REDIS_SETTING", /pass settings such as \{ sentinel:/);
        });
      } else {
        test("the master's settings, and the sentinels' own", () => {
          const { settings } = read(sentinel());
          const { tls, ...ofSentinels } = /** @type {any} */ (settings.sentinel);
          assert.equal(tls.rejectUnauthorized, true);
          assert.deepEqual(
            { ...settings, sentinel: ofSentinels },
            {
              kind: "sentinel",
              sentinel: {
                name: "primary",
                nodes: [{ host: "127.0.0.1", port: 7001 }],
                password: "of the sentinels",
              },
              username: "bob",
              password: SECRET,
              natMap: NAT,
            },
          );
          assert.equal(read(sentinel({ replicaPoolSize: 2 })).settings.readFrom, "replica");
        });
      }
    });
  }

  if (createClientPool) {
    test(`${name} pool: the settings of its clients, once it is connected`, async (t) => {
      const redis = await startRedis({ password: SECRET });
      t.after(() => redis.stop());
      const pool = createClientPool({ url: redis.url }).on("error", () => {});
      assertRefused(pool, "ERR_SIO_REDIS_SETTING", /has no idle client .* connect first/);
      await pool.connect();
      t.after(() => pool.destroy());
      const { host, port } = redis;
      assert.deepEqual(read(pool).settings, { kind: "standalone", host, port, password: SECRET });
    });
  }
}

for (const name of IOREDIS) {
  const { Cluster, Redis } = require(name);

  /**
   * @param {import("node:test").TestContext} t
   * @param {any[]} nodes
   * @param {object} [options]
   */
  const cluster = (t, nodes, options) => {
    const client = new Cluster(nodes, { lazyConnect: true, ...options });
    t.after(() => client.disconnect());
    return client;
  };

  /** @param {import("node:test").TestContext} t @param {object} [options] */
  const sentinel = (t, options) => {
    const client = new Redis({
      sentinels: [{ host: "127.0.0.1", port: 7001 }, { host: "localhost" }],
      name: "primary",
      lazyConnect: true,
      ...options,
    });
    t.after(() => client.disconnect());
    return client;
  };

  describe(`${name} cluster`, () => {
    test("nodes of any form, what is for all of them, and a map of addresses", (t) => {
      const { settings, warnings } = read(
        cluster(
          t,
          [{ host: "127.0.0.1", port: "7001", password: "one" }, "redis://ann:two@h:7002", 7003],
          { redisOptions: { password: SECRET }, keyPrefix: "kp:", natMap: NAT },
        ),
      );
      assert.deepEqual(settings, {
        kind: "cluster",
        nodes: [
          { host: "127.0.0.1", port: 7001, password: "one" },
          { host: "h", port: 7002, username: "ann", password: "two" },
          { host: "127.0.0.1", port: 7003 },
        ],
        password: SECRET,
        keyPrefix: "kp:",
        prefixShardedChannels: true,
        natMap: NAT,
      });
      assert.deepEqual(warnings, []);
    });

    test("TLS of the options, or of all start nodes", (t) => {
      const tls = (/** @type {any[]} */ nodes, /** @type {object} */ options) =>
        read(cluster(t, nodes, options)).settings.tls;
      assert.equal(
        tls([{ port: 1 }], { redisOptions: { tls: { servername: "s" } } })?.servername,
        "s",
      );
      assert.equal(tls([{ port: 1, tls: {} }], {})?.rejectUnauthorized, true);
      assert.equal(tls([{ port: 1 }], {}), undefined);
    });

    test("a client that reads from replicas", (t) => {
      for (const scaleReads of ["slave", "all"]) {
        const { settings, warnings } = read(cluster(t, [7001], { scaleReads }));
        assert.equal(settings.readFrom, "replica", scaleReads);
        assert.deepEqual(warnings, []);
      }
      assert.ok(!("readFrom" in read(cluster(t, [7001], { scaleReads: "master" })).settings));
    });

    test("addresses that are missing in the map are as the servers report them", (t) => {
      const natMap = { ...NAT, "10.0.0.2:6379": undefined, "10.0.0.3:6379": null };
      assert.deepEqual(read(cluster(t, [7001], { natMap })).settings.natMap, NAT);
      assert.deepEqual(read(sentinel(t, { natMap })).settings.natMap, NAT);
    });

    test("what cannot be carried", (t) => {
      const { settings, warnings } = read(cluster(t, [7001], { scaleReads: () => [] }));
      assert.match(warnings.join(), /`scaleReads` is ignored/);
      assert.ok(!("readFrom" in settings));
      for (const [options, message] of /** @type {[object, RegExp][]} */ ([
        [{ natMap: () => null }, /`natMap` must be an object such as/],
        [{ useSRVRecords: true }, /`useSRVRecords` cannot be carried over/],
      ])) {
        assertRefused(cluster(t, [7001], options), "ERR_SIO_REDIS_SETTING", message);
      }
    });
  });

  describe(`${name} sentinel`, () => {
    test("the master's settings, and the sentinels' own", (t) => {
      const { settings } = read(
        sentinel(t, { password: SECRET, sentinelPassword: "of the sentinels", db: 2, natMap: NAT }),
      );
      const { connectTimeout, family, ...rest } = settings;
      assert.deepEqual(rest, {
        kind: "sentinel",
        sentinel: {
          name: "primary",
          nodes: [
            { host: "127.0.0.1", port: 7001 },
            { host: "localhost", port: 26379 },
          ],
          password: "of the sentinels",
        },
        password: SECRET,
        database: 2,
        natMap: NAT,
      });
    });

    // As ioredis does it, where `tls` alone is for a single server.
    test("TLS to the master, and TLS to the sentinels", (t) => {
      const tls = (/** @type {object} */ options) => {
        const { settings } = read(sentinel(t, options));
        return [settings.tls !== undefined, settings.sentinel?.tls !== undefined];
      };
      assert.deepEqual(tls({ tls: {} }), [false, false]);
      assert.deepEqual(tls({ tls: {}, enableTLSForSentinelMode: true }), [true, false]);
      assert.deepEqual(tls({ sentinelTLS: {} }), [false, true]);
    });

    test("a client of replicas is refused", (t) => {
      assertRefused(sentinel(t, { role: "slave" }), "ERR_SIO_REDIS_SETTING", /`role` is "slave"/);
    });
  });
}

describe("settings objects name several servers", () => {
  test("a cluster, by addresses and URLs", () => {
    const { settings } = read({
      cluster: {
        nodes: ["redis://ann:one@h:7001", new URL("redis://h:7002"), { host: "h", port: 7003 }],
        natMap: NAT,
      },
      password: SECRET,
    });
    assert.deepEqual(settings, {
      kind: "cluster",
      nodes: [
        { host: "h", port: 7001, username: "ann", password: "one" },
        { host: "h", port: 7002 },
        { host: "h", port: 7003 },
      ],
      password: SECRET,
      natMap: NAT,
    });
  });

  test("a master and its sentinels", () => {
    const { settings } = read({
      sentinel: { name: "primary", nodes: [{ host: "h" }], password: "of the sentinels" },
      database: 3,
      password: SECRET,
    });
    assert.deepEqual(settings, {
      kind: "sentinel",
      sentinel: {
        name: "primary",
        nodes: [{ host: "h", port: 26379 }],
        password: "of the sentinels",
      },
      database: 3,
      password: SECRET,
    });
  });

  test("sentinels by URLs, which may mean TLS and have logins", () => {
    const nodes = ["redis://ann:one@s:1", new URL("redis://s"), { host: "s", port: undefined }];
    const { settings } = read({ sentinel: { name: "primary", nodes } });
    assert.deepEqual(settings.sentinel, {
      name: "primary",
      nodes: [
        { host: "s", port: 1, username: "ann", password: "one" },
        { host: "s", port: 26379 },
        { host: "s", port: 26379 },
      ],
    });
    const secure = read({ sentinel: { name: "primary", nodes: ["rediss://s"] } }).settings;
    assert.equal(secure.sentinel?.tls?.rejectUnauthorized, true);
    assert.equal(secure.tls, undefined, "the master's is another one");
  });

  for (const [what, settings, message] of /** @type {[string, object, RegExp][]} */ ([
    [
      "a sentinel that is no node",
      { sentinel: { name: "primary", nodes: [undefined] } },
      /`sentinel\.nodes\[\]` must be an object, not undefined/,
    ],
    [
      "a port as a sentinel",
      { sentinel: { name: "primary", nodes: [26379] } },
      /`sentinel\.nodes\[\]` must be an object, not a number/,
    ],
    [
      "sentinels with and without TLS",
      { sentinel: { name: "primary", nodes: ["rediss://s", { host: "s" }] } },
      /`sentinel\.nodes` reach some nodes with TLS and some without/,
    ],
    [
      "an address that is missing in a map",
      { cluster: { nodes: [{}], natMap: { "10.0.0.1:6379": undefined } } },
      /`cluster\.natMap\[\]` must be an object, not undefined/,
    ],
    [
      "a URL in a map",
      { sentinel: { name: "primary", nodes: [{}], natMap: { "10.0.0.1:6379": "redis://h" } } },
      /`sentinel\.natMap\[\]` must be an object, not a string/,
    ],
    ["no nodes", { cluster: { nodes: [] } }, /`cluster\.nodes` must be an array of at least one/],
    ["no name", { sentinel: { nodes: [{}] } }, /`sentinel\.name` must be a string, not null/],
    ["a host beside", { cluster: { nodes: [{}] }, host: "h" }, /`host` contradicts `cluster`/],
    ["both", { cluster: { nodes: [{}] }, sentinel: {} }, /`sentinel` contradicts `cluster`/],
    ["a database in a cluster", { cluster: { nodes: [{}] }, db: 1 }, /`database` is always 0/],
    ["something unknown", { cluster: { nodes: [{}], nat: {} } }, /`cluster\.nat` is no setting/],
    [
      "a secret in a node",
      { cluster: { nodes: [{ pw: SECRET }] } },
      /nodes\[\]\.pw` is no setting/,
    ],
    ["no object", { cluster: "redis://h" }, /`cluster` must be an object, not a string/],
  ])) {
    test(`refused: ${what}`, () => assertRefused(settings, "ERR_SIO_REDIS_SETTING", message));
  }
});

// Settings objects, and the settings of clients that are refused, ignored with a warning or changed.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { inspect } = require("node:util");

const { connectionSettings } = require("../../lib/connection");
const { disconnect, VERSIONS } = require("./versions");

const SECRET = "hunter2";
const NODE_REDIS = VERSIONS.filter(({ family }) => family === "node-redis");
const IOREDIS = VERSIONS.filter(({ family }) => family === "ioredis");

/** @param {unknown} input */
function resultOf(input) {
  /** @type {{ code: string, message: string }[]} */
  const warnings = [];
  const settings = connectionSettings(input, {
    warn: (code, message) => warnings.push({ code, message }),
  });
  return { settings, warnings };
}

/**
 * @param {unknown} input
 * @param {RegExp} message
 */
function assertRefused(input, message) {
  assert.throws(
    () => resultOf(input),
    (error) => {
      assert.ok(error instanceof TypeError);
      assert.equal(/** @type {any} */ (error).code, "ERR_SIO_REDIS_SETTING");
      assert.match(error.message, message);
      assert.ok(!inspect(error, { showHidden: true, depth: 9 }).includes(SECRET));
      return true;
    },
  );
}

/**
 * @param {unknown} input
 * @param {RegExp} message
 */
function assertWarned(input, message) {
  const { settings, warnings } = resultOf(input);
  assert.deepEqual(
    warnings.map(({ code }) => code),
    ["SIO_REDIS_SETTING_IGNORED"],
  );
  assert.match(warnings[0].message, message);
  return settings;
}

describe("a settings object is read, and its mistakes are named", () => {
  const local = { kind: "standalone", host: "localhost", port: 6379 };

  /** @type {[string, object, object][]} */
  const accepted = [
    ["nothing", {}, local],
    ["what is undefined or null", { host: undefined, password: null, tls: null }, local],
    ["numbers as strings", { port: "7000", database: "3" }, { ...local, port: 7000, database: 3 }],
    ["an IPv6 address in brackets", { host: "[::1]" }, { ...local, host: "::1" }],
    ["a family", { host: "redis.test", family: 4 }, { ...local, host: "redis.test", family: 4 }],
    ["any family", { family: 0 }, local],
    ["no TLS", { tls: false }, local],
    ["a key prefix", { keyPrefix: "app:" }, { ...local, keyPrefix: "app:" }],
    [
      "a path beside a host",
      { host: "x", path: "/r.sock" },
      { kind: "standalone", path: "/r.sock" },
    ],
    [
      "a URL with other parts",
      { url: "redis://ann:old@redis.test:7000/1", password: "new", db: 2 },
      {
        ...local,
        host: "redis.test",
        port: 7000,
        username: "ann",
        password: "new",
        database: 2,
      },
    ],
    ["a URL of a socket, moved to a host", { url: "unix:///r.sock", host: "localhost" }, local],
  ];
  for (const [name, input, expected] of accepted) {
    test(name, () => {
      assert.deepEqual(resultOf(input), { settings: expected, warnings: [] });
    });
  }

  /** @type {[string, object, RegExp][]} */
  const refused = [
    [
      "unknown settings",
      { hots: "x", socket: { password: SECRET } },
      /`hots`, `socket` are no settings: there are url, host, port, path, .*credentials/,
    ],
    ["an unknown TLS setting", { tls: { pfx: SECRET } }, /`tls.pfx` is no setting: .*tls\.ca/],
    ["a port out of range", { port: 65536 }, /`port` must be an integer from 1 to 65535/],
    ["a port that is no number", { port: SECRET }, /`port` must be an integer from 1 to 65535/],
    ["a host that is no string", { host: 127001 }, /`host` must be a string, not a number/],
    ["a password that is no string", { password: [SECRET] }, /`password` must be .* not an array/],
    ["a negative database", { database: -1 }, /`database` must be an integer from 0/],
    ["two databases", { database: 1, db: 1 }, /`db` is the same as `database`/],
    ["a family", { family: 5 }, /`family` must be 4, 6/],
    ["a time limit of 0", { connectTimeout: 0 }, /`connectTimeout` must be an integer from 1/],
    ["a half second and a half", { connectTimeout: 500.5 }, /`connectTimeout` must be an integer/],
    ["tls", { tls: "yes" }, /`tls` must be a boolean, not a string/],
    ["rejectUnauthorized", { tls: { rejectUnauthorized: 0 } }, /`tls.rejectUnauthorized` must be/],
    ["tls against the URL", { url: "rediss://h", tls: false }, /`tls` is false, but `url` starts/],
    ["TLS over a unix socket", { path: "/r.sock", tls: true }, /`tls` cannot be had over a unix/],
    ["credentials", { credentials: { password: SECRET } }, /`credentials` must be a function/],
    ["a URL that is no string", { url: 6379 }, /`url` must be a string, not a number/],
  ];
  for (const [name, input, message] of refused) {
    test(`refuses ${name}`, () => assertRefused(input, message));
  }
});

for (const { name, create } of NODE_REDIS) {
  describe(`${name}'s settings`, () => {
    test("a number as reconnectStrategy is the delay", () => {
      const { settings, warnings } = resultOf(create({ socket: { reconnectStrategy: 250 } }));
      assert.equal(settings.reconnectDelay, 250);
      assert.deepEqual(warnings, []);
    });

    test("a function as reconnectStrategy gives way to ours", () => {
      const { settings, warnings } = resultOf(create({ socket: { reconnectStrategy: () => 1 } }));
      assert.ok(!("reconnectDelay" in settings));
      assert.deepEqual(warnings, []);
    });

    test("no reconnects at all is warned of", () => {
      const client = create({ socket: { reconnectStrategy: false } });
      const settings = assertWarned(client, /`socket.reconnectStrategy` is ignored: .*reconnects/);
      assert.ok(!("reconnectDelay" in settings));
    });

    test("a time limit is carried", () => {
      const client = create({ socket: { connectTimeout: 1_234 } });
      assert.equal(resultOf(client).settings.connectTimeout, 1_234);
    });

    test("a resolver, a local address and read-only mode are warned of", () => {
      assertWarned(create({ socket: { lookup() {} } }), /`socket.lookup` is ignored/);
      assertWarned(create({ socket: { localAddress: "::1" } }), /`socket.localAddress` is ignored/);
      assertWarned(create({ readonly: true }), /`readonly` is ignored/);
    });

    test("what only looks like TLS is none, as for the client, and is warned of", () => {
      const client = create({ socket: { tls: { ca: SECRET } } });
      assert.ok(!("tls" in assertWarned(client, /`socket.tls` is ignored: it is not `true`/)));
    });

    test("TLS over a unix socket is refused", () => {
      assertRefused(
        create({ socket: { path: "/r.sock", tls: true } }),
        /`socket.tls` cannot be had/,
      );
    });

    test("a wrong port or database is refused", () => {
      assertRefused(create({ socket: { port: -1 } }), /`port` must be an integer/);
      assertRefused(create({ database: 1.5 }), /`database` must be an integer/);
    });

    test("a database that is no number is none, as for the client", () => {
      for (const database of [NaN, "", null]) {
        assert.ok(!("database" in resultOf(create({ database })).settings));
      }
    });

    test("settings without a meaning here are ignored", () => {
      const client = create({
        socket: { host: "redis.test", port: 7000, noDelay: false, keepAlive: false },
        commandsQueueMaxLength: 5,
        disableOfflineQueue: true,
        pingInterval: 1_000,
        modules: {},
        scripts: {},
        functions: {},
      });
      const { settings, warnings } = resultOf(client);
      const { connectTimeout, ...rest } = settings;
      assert.deepEqual(rest, { kind: "standalone", host: "redis.test", port: 7000 });
      assert.deepEqual(warnings, []);
    });
  });
}

test("node-redis 6 takes a Buffer as a key prefix", () => {
  const { create } = NODE_REDIS[2];
  assert.equal(resultOf(create({ keyPrefix: Buffer.from("é:") })).settings.keyPrefix, "é:");
  assertRefused(create({ keyPrefix: Buffer.from([0xff]) }), /`keyPrefix` must be UTF-8/);
});

for (const { name, create } of IOREDIS) {
  describe(`${name}'s settings`, () => {
    /**
     * @param {object | string} options
     * @param {import("node:test").TestContext} t
     */
    const client = (options, t) => {
      const created = create(options);
      t.after(() => disconnect(created));
      return created;
    };

    test("retryStrategy is treated like node-redis's", (t) => {
      const { settings, warnings } = resultOf(client({ retryStrategy: 250 }, t));
      assert.equal(settings.reconnectDelay, 250);
      assert.deepEqual(warnings, []);

      const withFunction = resultOf(client({ retryStrategy: () => 1 }, t));
      assert.ok(!("reconnectDelay" in withFunction.settings));
      assert.deepEqual(withFunction.warnings, []);

      for (const none of [null, false]) {
        assertWarned(client({ retryStrategy: none }, t), /`retryStrategy` is ignored/);
      }
    });

    test("a connector of the user's is refused", (t) => {
      class Connector {}
      assertRefused(client({ Connector, password: SECRET }, t), /`Connector` cannot be carried/);
    });

    test("rediss:// and TLS in the query mean TLS with the roots that Node trusts", (t) => {
      for (const url of ["rediss://redis.test", "redis://redis.test?tls=true"]) {
        const { tls, host } = resultOf(client(url, t)).settings;
        assert.equal(host, "redis.test");
        assert.equal(tls?.rejectUnauthorized, true);
        assert.ok((tls?.ca.length ?? 0) > 100);
      }
    });

    test("what a URL's query says counts, in the type that it should have", (t) => {
      const url = "redis://redis.test:7000/2?connectTimeout=1234&family=6&keyPrefix=app:";
      assert.deepEqual(resultOf(client(url, t)).settings, {
        kind: "standalone",
        host: "redis.test",
        port: 7000,
        family: 6,
        database: 2,
        connectTimeout: 1234,
        keyPrefix: "app:",
        prefixShardedChannels: true,
      });
    });

    test("a database that is no number is none, as for the client", (t) => {
      assert.ok(!("database" in resultOf(client("redis://redis.test/nonsense", t)).settings));
    });

    test("a password that is a number is its digits, as for the client", (t) => {
      assert.equal(resultOf(client({ password: 1234 }, t)).settings.password, "1234");
    });

    test("a resolver in the TLS options and read-only mode are warned of", (t) => {
      assertWarned(client({ tls: { lookup() {} } }, t), /`tls.lookup` is ignored/);
      assertWarned(client({ tls: { localAddress: "::1" } }, t), /`tls.localAddress` is ignored/);
      assertWarned(client({ readOnly: true }, t), /`readOnly` is ignored/);
    });

    test("TLS over a unix socket is refused", (t) => {
      assertRefused(client({ path: "/r.sock", tls: {} }, t), /`tls` cannot be had over a unix/);
    });

    test("settings without a meaning here are ignored", (t) => {
      const { settings, warnings } = resultOf(
        client(
          {
            host: "redis.test",
            family: 0,
            connectTimeout: 0,
            enableOfflineQueue: false,
            enableAutoPipelining: true,
            maxRetriesPerRequest: null,
          },
          t,
        ),
      );
      assert.deepEqual(settings, { kind: "standalone", host: "redis.test", port: 6379 });
      assert.deepEqual(warnings, []);
    });
  });
}

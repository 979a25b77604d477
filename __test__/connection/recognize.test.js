// Which inputs are accepted, and what the others are told.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const vm = require("node:vm");

const { createAdapter } = require("../..");
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

describe("what is no client is refused", () => {
  class GlideClient {
    customCommand() {}
  }

  /** @type {[string, unknown, RegExp][]} */
  const inputs = [
    [
      "nothing",
      undefined,
      /undefined was passed \(from an environment variable that is not set\?\): /,
    ],
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

  test("a mock of ioredis, whose settings would lead to a real Redis", () => {
    // What ioredis-mock has of a client: all commands and the options, but no status.
    const { Redis } = require("ioredis");
    const mock = Object.create(Redis.prototype, {
      options: { value: { host: "localhost", port: 6379 } },
    });
    assertRefused(mock, /a mock of a Redis client was passed/);
  });

  test("two clients, as for the adapter over Redis PUB/SUB", () => {
    const { Redis } = require("ioredis");
    const clients = [
      require("redis").createClient({ socket: { port: 1 } }),
      new Redis({ lazyConnect: true }),
    ];
    for (const second of clients) {
      assert.throws(() => createAdapter("redis://localhost", /** @type {any} */ (second)), {
        name: "TypeError",
        code: "ERR_SIO_REDIS_CLIENT",
        message: /two clients were passed/,
      });
      disconnect(second);
    }
  });

  test("a client created and not awaited", async () => {
    const client = require("redis").createClient({ socket: { port: 1, reconnectStrategy: false } });
    client.on("error", () => {});
    const connected = client.connect();
    assertRefused(connected, /a promise was passed: await it first/);
    await assert.rejects(connected);
    disconnect(client);
  });
});

describe("clients are recognized also as", () => {
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

describe("objects of another realm, as test runners make them, are recognized", () => {
  test("a settings object", () => {
    const settings = vm.runInNewContext('({ host: "127.0.0.1", port: 1234 })');
    assert.equal(connectionSettings(settings, { warn }).port, 1234);
  });

  test("an object without a prototype", () => {
    const settings = Object.assign(Object.create(null), { port: 1234 });
    assert.equal(connectionSettings(settings, { warn }).port, 1234);
  });
});

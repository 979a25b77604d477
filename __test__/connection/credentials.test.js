// Credentials that are asked for at each connect, against a live server.

"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");
const { inspect } = require("node:util");

const { connectionSettings } = require("../../lib/connection");
const { startRedis } = require("../helpers/redis-server");
const { within } = require("../helpers/wait");
const { openProbe } = require("./probe");
const { call, disconnect, VERSIONS } = require("./versions");

const USERNAME = "ann";
const PASSWORD = "hunter2";
const NOPASS_USER = "guest";

/** @type {Awaited<ReturnType<typeof startRedis>>} */
let server;
before(async () => {
  server = await startRedis({
    password: "the default user's",
    args: [
      ...["--user", USERNAME, "on", `>${PASSWORD}`, "~*", "&*", "+@all"],
      ...["--user", NOPASS_USER, "on", "nopass", "~*", "&*", "+@all"],
    ],
  });
});
after(() => server?.stop());

/** @param {unknown} input */
function settingsOf(input) {
  return connectionSettings(input, { warn: () => assert.fail("nothing to warn of") });
}

/** A provider whose credentials can change, with the number of its open subscriptions. */
function streamingProvider() {
  const listeners = new Set();
  return {
    type: "streaming-credentials-provider",
    current: { username: USERNAME, password: PASSWORD },
    listeners,
    /** @param {object} listener */
    async subscribe(listener) {
      listeners.add(listener);
      return [this.current, { dispose: () => listeners.delete(listener) }];
    },
    onReAuthenticationError() {},
  };
}

for (const { name, create } of VERSIONS.slice(1, 3)) {
  describe(`${name}'s credentials provider`, () => {
    /** @param {object} options */
    const client = (options) =>
      create({ socket: { host: server.host, port: server.port }, ...options });

    test("one made by the client out of constants is not asked", () => {
      for (const options of [
        { username: USERNAME, password: PASSWORD },
        { url: `redis://${USERNAME}:${PASSWORD}@127.0.0.1:${server.port}` },
      ]) {
        const made = create(options);
        assert.equal(made.options.credentialsProvider.type, "async-credentials-provider");
        const { username, password, credentials } = settingsOf(made);
        assert.deepEqual(
          { username, password, credentials },
          { username: USERNAME, password: PASSWORD, credentials: undefined },
        );
      }
    });

    test("the user's own is asked at each connect, and wins", async (t) => {
      let asked = 0;
      const credentialsProvider = {
        type: "async-credentials-provider",
        async credentials() {
          asked++;
          return { username: USERNAME, password: PASSWORD };
        },
      };
      for (const plain of [{}, { username: "nobody", password: "nothing" }]) {
        const settings = settingsOf(client({ credentialsProvider, ...plain }));
        assert.deepEqual(Object.keys(settings).sort(), ["credentials", "host", "kind", "port"]);
        assert.equal(asked, 0, "asked when used, not before");
        for (let connection = 1; connection <= 2; connection++) {
          const probe = await openProbe(settings);
          t.after(() => probe.close());
          assert.equal(await probe.call("ACL", "WHOAMI"), USERNAME);
          assert.equal(asked, connection);
        }
        asked = 0;
      }
    });

    test("the user's own is asked even if it reads like the client's", async () => {
      const options = { username: USERNAME, password: "rotated later" };
      const credentialsProvider = {
        type: "async-credentials-provider",
        credentials: async () => ({ username: options.username, password: options.password }),
      };
      const settings = settingsOf(client({ credentialsProvider }));
      options.password = PASSWORD;
      assert.equal((await settings.credentials?.())?.password, PASSWORD);
    });

    test("a login in the URL wins over it, as in the client", () => {
      const credentialsProvider = {
        type: "async-credentials-provider",
        credentials: () => assert.fail("not used by the client either"),
      };
      const url = `redis://${USERNAME}:${PASSWORD}@127.0.0.1:${server.port}`;
      const { password, credentials } = settingsOf(create({ url, credentialsProvider }));
      assert.deepEqual({ password, credentials }, { password: PASSWORD, credentials: undefined });
    });

    test("of a streaming one the current credentials are taken, without staying", async (t) => {
      const credentialsProvider = streamingProvider();
      const connected = client({ credentialsProvider });
      t.after(() => disconnect(connected));
      await within(connected.connect(), "the client to connect");
      assert.equal(credentialsProvider.listeners.size, 1);

      const settings = settingsOf(connected);
      const probe = await openProbe(settings);
      t.after(() => probe.close());
      assert.equal(await probe.call("ACL", "WHOAMI"), USERNAME);
      assert.equal(credentialsProvider.listeners.size, 1, "only the client's");

      credentialsProvider.current = { username: USERNAME, password: "rotated" };
      assert.deepEqual(await settings.credentials?.(), credentialsProvider.current);
    });

    test("what it leaves out or empty counts as for the client", async (t) => {
      const args = ["--user", NOPASS_USER, "on", "nopass", "~*", "&*", "+@all"];
      const open = await startRedis({ args });
      t.after(() => open.stop());
      for (const answer of [
        { username: NOPASS_USER },
        { username: NOPASS_USER, password: "" },
        { username: "", password: "" },
        { password: "" },
      ]) {
        for (const RESP of [undefined, 3]) {
          const credentialsProvider = { ...streamingProvider(), current: answer };
          const socket = { host: open.host, port: open.port };
          const connected = create({ credentialsProvider, socket, ...(RESP && { RESP }) });
          t.after(() => disconnect(connected));
          await within(connected.connect(), "the client to connect");
          const probe = await openProbe(settingsOf(connected));
          t.after(() => probe.close());
          assert.equal(
            await probe.call("ACL", "WHOAMI"),
            await call(connected, "ACL", "WHOAMI"),
            `${JSON.stringify(answer)} with RESP ${RESP}`,
          );
        }
      }
    });

    test("one of an unknown kind is refused", () => {
      for (const credentialsProvider of [{}, { type: "async-credentials-provider" }]) {
        assert.throws(() => settingsOf(client({ credentialsProvider })), {
          name: "TypeError",
          code: "ERR_SIO_REDIS_SETTING",
          message: /`credentialsProvider` must have the type/,
        });
      }
    });
  });
}

describe("a settings object's credentials", () => {
  test("are asked at each connect, and win", async (t) => {
    const settings = settingsOf({
      url: `redis://nobody:nothing@${server.host}:${server.port}`,
      username: "nobody",
      credentials: () => ({ username: USERNAME, password: PASSWORD }),
    });
    assert.deepEqual(Object.keys(settings).sort(), ["credentials", "host", "kind", "port"]);
    const probe = await openProbe(settings);
    t.after(() => probe.close());
    assert.equal(await probe.call("ACL", "WHOAMI"), USERNAME);
  });

  test("may come from a provider as node-redis takes it", async () => {
    const provider = streamingProvider();
    const settings = settingsOf({ credentials: provider });
    assert.deepEqual(await settings.credentials?.(), provider.current);
    assert.equal(provider.listeners.size, 0, "asked, and let go of");

    /** @type {unknown[]} */
    const heard = [];
    const stop = await settings.followCredentials?.({
      onNext: (credentials) => heard.push(credentials),
      onError: (error) => heard.push(/** @type {Error} */ (error).message),
    });
    const [listener] = provider.listeners;
    listener.onNext({ password: "next", expires: 1 });
    listener.onNext({ password: 1 });
    listener.onError(new Error("sealed"));
    assert.deepEqual(heard, [
      { password: "next" },
      "createAdapter: the settings object's `credentials` must give a string as `password`, not a number",
      "sealed",
    ]);
    stop?.();
    assert.equal(provider.listeners.size, 0);

    for (const credentials of [{ type: "another" }, { type: "streaming-credentials-provider" }]) {
      assert.throws(() => settingsOf({ credentials }), {
        code: "ERR_SIO_REDIS_SETTING",
        message: /`credentials` must have the type/,
      });
    }
  });

  test("may leave parts out", async () => {
    const credentials = async () => ({ username: undefined, password: PASSWORD, expires: 1 });
    assert.deepEqual(await settingsOf({ credentials }).credentials?.(), { password: PASSWORD });
  });

  // Without an AUTH, Redis would take the connection for the default user's.
  test("of a user without a password log in as that user", async (t) => {
    for (const answer of [{ username: NOPASS_USER }, { username: NOPASS_USER, password: null }]) {
      const credentials = /** @type {any} */ (() => answer);
      const probe = await openProbe(
        settingsOf({ host: server.host, port: server.port, credentials }),
      );
      t.after(() => probe.close());
      assert.equal(await probe.call("ACL", "WHOAMI"), NOPASS_USER);
    }
  });

  test("that are empty are no login, as in the other settings", async () => {
    const provider = { ...streamingProvider(), current: { username: "", password: "" } };
    const settings = settingsOf({ credentials: provider });
    assert.deepEqual(await settings.credentials?.(), {});
    /** @type {unknown[]} */
    const heard = [];
    const onNext = (/** @type {unknown} */ credentials) => heard.push(credentials);
    await settings.followCredentials?.({ onNext, onError: (error) => assert.ifError(error) });
    provider.listeners.forEach((listener) => listener.onNext({ username: "", password: "next" }));
    assert.deepEqual(heard, [{ password: "next" }]);
  });

  test("that fail or make no sense reject, and are not shown", async () => {
    const failing = settingsOf({
      credentials() {
        throw new Error("the vault is sealed");
      },
    });
    await assert.rejects(async () => failing.credentials?.(), /the vault is sealed/);

    for (const [answer, message] of /** @type {[any, RegExp][]} */ ([
      [undefined, /`credentials` must give an object .*, not undefined/],
      [PASSWORD, /`credentials` must give an object .*, not a string/],
      [{ password: [PASSWORD] }, /`credentials` must give a string as `password`, not an array/],
    ])) {
      const { credentials } = settingsOf({ credentials: () => answer });
      await assert.rejects(
        async () => credentials?.(),
        (error) => {
          assert.ok(error instanceof TypeError);
          assert.match(error.message, message);
          assert.ok(!inspect(error).includes(PASSWORD));
          return true;
        },
      );
    }
  });
});

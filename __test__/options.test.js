// The adapter's options: upstream's names and defaults, and what is said about wrong ones.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");

const { resolveOptions } = require("../lib/options");

/** @param {unknown} given */
function resultOf(given) {
  /** @type {[string, string][]} */
  const warnings = [];
  const options = resolveOptions(given, {
    warn: (code, message) => warnings.push([code, message]),
  });
  return { options, warnings };
}

const DEFAULTS = {
  streamName: "socket.io",
  streamCount: 1,
  channelPrefix: "socket.io",
  useShardedPubSub: false,
  maxLen: 10_000,
  maxAge: 0,
  readCount: 100,
  blockTimeInMs: 5_000,
  sessionKeyPrefix: "sio:session:",
  onlyPlaintext: false,
  heartbeatInterval: 5_000,
  heartbeatTimeout: 10_000,
  publishQueueBytes: 64 * 1024 * 1024,
  inboxBytes: 64 * 1024 * 1024,
  historyBytes: 64 * 1024 * 1024,
  clientBufferBytes: 0,
  readFrom: "master",
  requestsVia: "pubsub",
  liveSessions: true,
  expiredSessions: false,
};

describe("options", () => {
  test("have defaults", () => {
    for (const given of [undefined, null, {}, { maxLen: undefined }]) {
      assert.deepEqual(resultOf(given), { options: DEFAULTS, warnings: [] });
    }
  });

  test("that are given are used, and the given object stays as it is", () => {
    const given = Object.freeze({
      streamName: "chat",
      streamCount: 4,
      channelPrefix: "chat",
      useShardedPubSub: true,
      maxLen: 5,
      maxAge: 60_000,
      readCount: 6,
      blockTimeInMs: 7,
      sessionKeyPrefix: "s:",
      onlyPlaintext: true,
      heartbeatInterval: 8,
      heartbeatTimeout: 9,
      publishQueueBytes: 10,
      inboxBytes: 11,
      historyBytes: 12,
      clientBufferBytes: 13,
      readFrom: "replica",
      requestsVia: "stream",
      liveSessions: false,
      expiredSessions: true,
    });
    const { options, warnings } = resultOf(given);
    assert.deepEqual(options, given);
    const [[code, message], ...others] = warnings;
    assert.equal(code, "SIO_REDIS_OPTION_IGNORED");
    assert.match(message, /`useShardedPubSub` has no effect with `requestsVia: "stream"`/);
    assert.deepEqual([others, resultOf(given).warnings], [[], []], "warned of once");
  });

  test("that are missing come from the client's settings, if these tell", () => {
    const ofClient = { readFrom: /** @type {const} */ ("replica") };
    const resolve = (/** @type {unknown} */ given, of = ofClient) =>
      resolveOptions(given, { warn() {}, ofClient: of }).readFrom;
    assert.equal(resolve(undefined), "replica");
    assert.equal(resolve({ readFrom: "master" }), "master");
    assert.equal(resolve({ readFrom: "nearest" }), "nearest");
    assert.equal(resolve({}, /** @type {any} */ ({ readFrom: undefined })), "master");
  });

  /** @type {[string, any, any][]} */
  const ranges = [
    ["streamCount", 1, 10_000],
    ["maxLen", 1, Number.MAX_SAFE_INTEGER],
    ["maxAge", 0, Number.MAX_SAFE_INTEGER],
    ["readCount", 1, 2 ** 31 - 1],
    ["blockTimeInMs", 0, 2 ** 31 - 1],
    ["publishQueueBytes", 1, Number.MAX_SAFE_INTEGER],
    ["inboxBytes", 1, Number.MAX_SAFE_INTEGER],
    ["historyBytes", 0, Number.MAX_SAFE_INTEGER],
    ["clientBufferBytes", 0, Number.MAX_SAFE_INTEGER],
  ];
  for (const [name, min, max] of ranges) {
    test(`${name} is an integer from ${min} to ${max}`, () => {
      for (const value of [min, max]) {
        assert.equal(/** @type {any} */ (resultOf({ [name]: value }).options)[name], value);
      }
      for (const value of [min - 1, max + 1, 1.5, NaN, Infinity]) {
        assert.throws(() => resultOf({ [name]: value }), {
          name: "RangeError",
          code: "ERR_SIO_REDIS_OPTION",
          message: `createAdapter: \`${name}\` must be an integer from ${min} to ${max}, not ${value}`,
        });
      }
      for (const [value, shown] of [
        ["5", "'5'"],
        [null, "null"],
        [5n, "5n"],
        [true, "true"],
        [[5], "\\[ 5 \\]"],
      ]) {
        assert.throws(() => resultOf({ [name]: value }), {
          name: "TypeError",
          code: "ERR_SIO_REDIS_OPTION",
          message: new RegExp(`\`${name}\` must be an integer from .*, not ${shown}$`),
        });
      }
    });
  }

  for (const name of ["streamName", "channelPrefix", "sessionKeyPrefix"]) {
    test(`${name} is a string that is not empty`, () => {
      assert.throws(() => resultOf({ [name]: "" }), {
        name: "RangeError",
        code: "ERR_SIO_REDIS_OPTION",
        message: `createAdapter: \`${name}\` must be a string that is not empty, not ''`,
      });
      assert.throws(() => resultOf({ [name]: 1 }), {
        name: "TypeError",
        code: "ERR_SIO_REDIS_OPTION",
        message: `createAdapter: \`${name}\` must be a string that is not empty, not 1`,
      });
    });
  }

  test("requestsVia is one of two", () => {
    const allowed = "createAdapter: `requestsVia` must be 'pubsub' or 'stream', not ";
    for (const [value, name, shown] of /** @type {[any, string, string][]} */ ([
      ["streams", "RangeError", "'streams'"],
      ["", "RangeError", "''"],
      [true, "TypeError", "true"],
      [null, "TypeError", "null"],
    ])) {
      assert.throws(() => resultOf({ requestsVia: value }), {
        ...{ name, code: "ERR_SIO_REDIS_OPTION", message: allowed + shown },
      });
    }
  });

  for (const name of ["useShardedPubSub", "onlyPlaintext"]) {
    test(`${name} is true or false`, () => {
      for (const value of [0, "true", null]) {
        assert.throws(() => resultOf({ [name]: value }), {
          name: "TypeError",
          code: "ERR_SIO_REDIS_OPTION",
          message: new RegExp(`\`${name}\` must be true or false, not`),
        });
      }
    });
  }

  test("a heartbeat must come before its time-out", () => {
    for (const [given, timeout, interval] of /** @type {[object, number, number][]} */ ([
      [{ heartbeatInterval: 100, heartbeatTimeout: 100 }, 100, 100],
      [{ heartbeatTimeout: 3_000 }, 3_000, 5_000],
      [{ heartbeatInterval: 20_000, heartbeatTimeout: 10_000 }, 10_000, 20_000],
    ])) {
      assert.throws(() => resultOf(given), {
        name: "RangeError",
        code: "ERR_SIO_REDIS_OPTION",
        message: new RegExp(
          `\`heartbeatTimeout\` \\(${timeout}\\) must be greater than ` +
            `\`heartbeatInterval\` \\(${interval}\\)`,
        ),
      });
    }
    for (const name of ["heartbeatInterval", "heartbeatTimeout"]) {
      assert.throws(() => resultOf({ [name]: 0 }), {
        name: "RangeError",
        code: "ERR_SIO_REDIS_OPTION",
        message: new RegExp(`\`${name}\` must be an integer from 1 to 2147483647, not 0$`),
      });
    }
    assert.equal(
      resultOf({ heartbeatInterval: 1, heartbeatTimeout: 2 }).options.heartbeatTimeout,
      2,
    );
  });

  test("a heartbeat's time-out is twice as long as a long interval", () => {
    for (const [heartbeatInterval, timeout] of [
      [1, 10_000],
      [5_000, 10_000],
      [10_000, 20_000],
      [2 ** 31 - 2, 2 ** 31 - 1],
    ]) {
      assert.equal(resultOf({ heartbeatInterval }).options.heartbeatTimeout, timeout);
    }
  });

  test("are an object", () => {
    for (const given of ["socket.io", 5, [], () => {}]) {
      assert.throws(() => resultOf(given), {
        name: "TypeError",
        code: "ERR_SIO_REDIS_OPTION",
        message: /the options must be an object, not/,
      });
    }
  });

  test("a long value is cut in the message", () => {
    assert.throws(
      () => resultOf({ maxLen: "x".repeat(10_000) }),
      (error) => error instanceof TypeError && error.message.length < 300,
    );
  });
});

describe("an unknown option", () => {
  /** @type {[string, string | undefined][]} */
  const names = [
    ["streamname", "streamName"],
    ["maxLenght", "maxLen"],
    ["maxlength", "maxLen"],
    ["blockTime", "blockTimeInMs"],
    ["useShardedPubsub", "useShardedPubSub"],
    ["heartbeatTimout", "heartbeatTimeout"],
    ["host", undefined],
    ["requestsTimeout", undefined],
    ["toString", undefined],
  ];
  for (const [name, similar] of names) {
    test(`${name} is warned of, once`, () => {
      const { options, warnings } = resultOf({ [name]: 1, streamName: "chat" });
      const hint = similar === undefined ? "" : `; did you mean \`${similar}\`?`;
      assert.deepEqual(warnings, [
        [
          "SIO_REDIS_UNKNOWN_OPTION",
          `createAdapter: \`${name}\` is no option and has no effect${hint}`,
        ],
      ]);
      assert.deepEqual(options, { ...DEFAULTS, streamName: "chat" });
      assert.deepEqual(resultOf({ [name]: 2 }).warnings, []);
    });
  }
});

// What an emitter takes, refuses and says: arguments, flush(), close(), failures.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { Redis } = require("ioredis");
const { useRedis } = require("../helpers/cluster");
const { freePort } = require("../helpers/redis-server");
const { settle, waitFor, within } = require("../helpers/wait");
const { decodeData, entriesAfter } = require("../helpers/wire");
const { defer } = require("../faults/defer");
const { takeWarnings } = require("../faults/warnings");

const { createAdapter, Emitter } = require("../..");

/** @typedef {import("node:test").TestContext} TestContext */

/** How long a close takes without Redis, at most (ms), and something for a slow machine. */
const CLOSE_LIMIT = 5_000 + 2_000;

const context = useRedis();

let streams = 0;

/**
 * An emitter with a stream of its own.
 *
 * @param {TestContext} t
 * @param {{ client?: any, options?: Record<string, any> }} [settings]
 */
function start(t, { client = context.redis.url, options } = {}) {
  const streamName = `stream ${streams++}`;
  const emitter = new Emitter(client, { streamName, ...options });
  defer(t, () => emitter.close().catch(() => {}));
  takeWarnings();
  return {
    emitter,
    streamName,
    /** What is in the stream: the data of each broadcast. */
    async events() {
      const entries = await entriesAfter(context.admin, streamName);
      return entries.map(({ fields }) => decodeData(fields.data).packet.data);
    },
  };
}

/** @param {string} name of a connection, as its client said */
async function connectionsOf(name) {
  const list = await context.admin.command("CLIENT", "LIST");
  return list.split(` name=${name} `).length - 1;
}

/** What was warned of, once it is. @param {string} code */
async function warned(code) {
  const isIt = (/** @type {{ code: string }} */ warning) => warning.code === code;
  const what = `the warning ${code}`;
  return String((await waitFor(() => takeWarnings().find(isIt), { what }))?.message);
}

describe("what is passed to the emitter", () => {
  test("require() and import() give the same class", async () => {
    const namespace = await import("../../index.js");
    assert.equal(namespace.Emitter, Emitter);
    assert.equal(namespace.default.Emitter, Emitter);
  });

  test("a URL, settings, and a client that is not connected", async (t) => {
    const { host, port, url } = context.redis;
    const client = new Redis({ host, port, lazyConnect: true });
    for (const redis of [url, new URL(url), { host, port }, client]) {
      const { emitter, events } = start(t, { client: redis });
      emitter.emit("hello");
      await emitter.flush();
      assert.deepEqual(await events(), [["hello"]]);
    }
    assert.equal(client.status, "wait", "the client itself is left alone");
  });

  test("a client's key prefix goes before the stream", async (t) => {
    const { host, port } = context.redis;
    const client = new Redis({ host, port, lazyConnect: true, keyPrefix: "app:" });
    const { emitter, streamName } = start(t, { client });
    emitter.emit("hello");
    await emitter.flush();
    assert.equal(await context.admin.command("XLEN", `app:${streamName}`), 1);
    assert.equal(await context.admin.command("EXISTS", streamName), 0);
  });

  test("the options of the servers: each namespace goes to its stream, which is trimmed", async (t) => {
    const options = {
      ...{ streamCount: 4, maxLen: 100, onlyPlaintext: true, publishQueueBytes: 1e9 },
      ...{ historyBytes: 0, sessionKeyPrefix: "s:", requestsVia: /** @type {const} */ ("stream") },
    };
    createAdapter(context.redis.url, options);
    const { emitter, streamName } = start(t, { options });
    for (let i = 0; i < 1_000; i++) {
      emitter.of("/chat").emit("hello", i);
    }
    emitter.of("/dashboard").emit("hello"); // a negative hash
    await emitter.flush();
    const lengths = await Promise.all(
      [0, 1, 2, 3].map((i) => context.admin.command("XLEN", `${streamName}-${i}`)),
    );
    const long = lengths.filter((length) => length > 1);
    assert.ok(long.length === 1 && long[0] >= 100 && long[0] < 1_000, String(lengths));
    assert.equal(lengths.filter((length) => length === 1).length, 1, String(lengths));
    assert.deepEqual(takeWarnings(), []);
  });

  // Breaks when an emitter has the default of servers without connection state recovery.
  test("without options, no stream is trimmed shorter than servers do by default", async (t) => {
    const { emitter, streamName } = start(t, { options: {} });
    const length = () => context.admin.command("XLEN", streamName);
    const emit = (/** @type {number} */ count) => {
      for (let i = 0; i < count; i++) {
        emitter.emit("hello", i);
      }
      return emitter.flush();
    };
    await emit(20_000);
    assert.equal(await length(), 20_000);
    for (let i = 0; i < 5; i++) {
      await emit(20_000);
    }
    const most = await length();
    assert.ok(most >= 100_000 && most < 101_000, `${most} entries`);
  });

  test("what cannot be right throws, and says whose it is", () => {
    const { url } = context.redis;
    /** @type {[() => unknown, object][]} */
    const wrong = [
      [
        () => new Emitter(/** @type {any} */ (undefined)),
        { code: "ERR_SIO_REDIS_CLIENT", message: /^Emitter: / },
      ],
      [() => new Emitter("http://x"), { code: "ERR_SIO_REDIS_SETTING", message: /^Emitter: / }],
      [
        () => new Emitter(url, { maxLen: 0 }),
        { code: "ERR_SIO_REDIS_OPTION", message: /^Emitter: `maxLen`/ },
      ],
      [
        () => new Emitter(url, /** @type {any} */ (new Redis({ lazyConnect: true }))),
        { code: "ERR_SIO_REDIS_CLIENT", message: /^Emitter: two clients were passed.*one client/ },
      ],
      [
        () => new Emitter(url, /** @type {any} */ ("/chat")),
        { code: "ERR_SIO_REDIS_OPTION", message: /^Emitter: the options must be an object/ },
      ],
      [
        () => new Emitter(url, {}, /** @type {any} */ (/chat/)),
        { name: "TypeError", message: "Emitter: the namespace must be a string, not object" },
      ],
    ];
    for (const [make, error] of wrong) {
      assert.throws(make, error);
    }
  });

  test("an unknown option is warned of", async (t) => {
    takeWarnings();
    const emitter = new Emitter(context.redis.url, /** @type {any} */ ({ streamname: "x" }));
    defer(t, () => emitter.close());
    assert.match(
      await warned("SIO_REDIS_UNKNOWN_OPTION"),
      /^Emitter: `streamname` .*did you mean `streamName`/,
    );
  });
});

describe("what cannot be emitted", () => {
  // Breaks when something of it is written all the same.
  test("throws where it is emitted, and nothing is written", async (t) => {
    const { emitter, events } = start(t);
    const any = /** @type {any} */ (emitter);
    for (const name of ["connect", "connect_error", "disconnect", "disconnecting", "newListener"]) {
      assert.throws(() => any.emit(name), { message: `"${name}" is a reserved event name` });
      assert.throws(() => any.to("room").emit(name), /is a reserved event name/);
    }
    for (const name of ["connect", "connection", "new_namespace"]) {
      assert.throws(() => any.serverSideEmit(name), {
        message: `"${name}" is a reserved event name`,
      });
    }
    assert.throws(() => any.emit("ask", 1, () => {}), /no acknowledgements/);
    assert.throws(() => any.serverSideEmit("ask", () => {}), /no acknowledgements/);
    assert.throws(() => any.emit("big", 1n), TypeError);
    /** @type {any} */
    const circular = {};
    circular.self = circular;
    assert.throws(() => any.emit("circular", circular), RangeError);
    /** @type {any} */
    let deep = Buffer.from("deeper than the stack");
    for (let depth = 0; depth < 100_000; depth++) {
      deep = { deep };
    }
    assert.throws(() => any.emit("deep", deep), RangeError);
    emitter.emit("connection");
    await emitter.flush();
    assert.deepEqual(await events(), [["connection"]]);
  });
});

describe("flush", () => {
  test("waits for all namespaces, and for what was emitted before only", async (t) => {
    const { emitter, events } = start(t);
    const chat = emitter.of("/chat");
    await emitter.flush(); // of nothing
    for (let i = 0; i < 2_000; i++) {
      (i % 2 ? chat : emitter).emit("numbered", i);
    }
    const flushes = [emitter.flush(), chat.flush()];
    emitter.emit("numbered", 2_000);
    await Promise.all(flushes);
    const count = (await events()).length;
    assert.ok(count >= 2_000, `${count} are written`);
    await emitter.flush();
    assert.deepEqual(
      (await events()).map(([, number]) => number),
      Array.from({ length: 2_001 }, (_, number) => number),
    );
  });

  // Breaks when a refusal is taken for written, is not counted, or is said again by the next flush.
  test("rejects when Redis refuses, once, and works again when it does not", async (t) => {
    const user = ["ACL", "SETUSER", "no-xadd", "on", ">secret", "~*", "+@all"];
    await context.admin.command(...user, "-xadd");
    const { port } = context.redis;
    const { emitter, events } = start(t, { client: `redis://no-xadd:secret@127.0.0.1:${port}` });
    emitter.emit("lost", 1);
    emitter.of("/chat").emit("lost", 2);
    emitter.socketsJoin("lost");
    await assert.rejects(emitter.flush(), (/** @type {any} */ error) => {
      assert.equal(error.name, "SocketIORedisError");
      assert.equal(error.code, "ERR_SIO_REDIS_NOPERM");
      assert.equal(error.failed, 3);
      assert.match(
        error.message,
        /^3 of 3 messages were not written: Redis refused XADD on `stream/,
      );
      assert.equal(error.cause.code, "ERR_SIO_REDIS_NOPERM");
      assert.ok(!/secret/.test(error.message));
      return true;
    });
    await emitter.flush(); // nothing was emitted since
    emitter.emit("lost", 4);
    await assert.rejects(emitter.flush(), { failed: 1 });
    assert.equal(emitter.stats().failed, 4);
    assert.match(await warned("ERR_SIO_REDIS_NOPERM"), /XADD/);
    await context.admin.command(...user);
    emitter.emit("written");
    await emitter.flush();
    assert.deepEqual(await events(), [["written"]]);
  });

  test("rejects when more waits than `publishQueueBytes`; the rest is written", async (t) => {
    const { emitter, events } = start(t, { options: { publishQueueBytes: 10_000 } });
    emitter.emit("first");
    await emitter.flush();
    context.redis.pause();
    defer(t, () => context.redis.resume());
    const large = "x".repeat(2_000);
    assert.equal(emitter.emit("large", 0, large), true);
    // What was sent does not count, but for what JS keeps of it. All that follows waits.
    await waitFor(() => emitter.stats().queueBytes < large.length, { what: "it to be sent" });
    for (let i = 1; i < 20; i++) {
      assert.equal(emitter.emit("large", i, large), true);
    }
    const flushed = emitter.flush();
    await warned("ERR_SIO_REDIS_QUEUE_FULL");
    context.redis.resume();
    const error = await flushed.catch((error) => error);
    assert.equal(error.code, "ERR_SIO_REDIS_QUEUE_FULL");
    assert.match(error.message, /publishQueueBytes/);
    const numbers = (await events()).slice(1).map(([, number]) => number);
    assert.ok(numbers.length > 0 && error.failed > 0);
    assert.equal(numbers.length + error.failed, 20);
    assert.deepEqual(numbers, [...numbers.keys()], "the first ones, in their order");
    emitter.emit("last");
    await emitter.flush();
  });

  // Breaks when a failure that nobody asks for ends the process, or is not said at all.
  test("nobody has to ask: a failure is a warning", async (t) => {
    /** @type {unknown[]} */
    const rejections = [];
    const onRejection = (/** @type {unknown} */ error) => rejections.push(error);
    process.on("unhandledRejection", onRejection);
    defer(t, () => process.off("unhandledRejection", onRejection));
    const { emitter, streamName } = start(t);
    await context.admin.command("SET", streamName, "no stream");
    emitter.emit("lost");
    emitter.flush();
    await waitFor(() => emitter.stats().failed === 1);
    emitter.emit("lost");
    emitter.close();
    assert.match(await warned("ERR_SIO_REDIS_WRONGTYPE"), new RegExp(streamName));
    await settle();
    assert.deepEqual(rejections, []);
  });
});

describe("close", () => {
  test("one connection, opened by the first message, is all there is", async (t) => {
    const client = { url: context.redis.url, clientName: "only" };
    const { emitter } = start(t, { client });
    await settle();
    assert.equal(await connectionsOf("only"), 0);
    emitter.emit("hello");
    emitter.of("/chat").emit("hello");
    await emitter.flush();
    assert.equal(await connectionsOf("only"), 1);
    await emitter.of("/other").close(); // that of all
    await waitFor(async () => (await connectionsOf("only")) === 0, { what: "it to be closed" });
  });

  test("flushes; can be called again; what is emitted afterwards throws", async (t) => {
    const { emitter, events } = start(t);
    const chat = emitter.of("/chat");
    const room = emitter.to("room");
    for (let i = 0; i < 1_000; i++) {
      emitter.emit("numbered", i);
    }
    await Promise.all([emitter.close(), chat.close(), emitter.close()]);
    await emitter.close();
    assert.equal((await events()).length, 1_000);
    for (const one of [emitter, chat, room]) {
      assert.throws(() => one.emit("late"), {
        code: "ERR_SIO_REDIS_CLOSED",
        message: "the emitter is closed",
      });
      assert.throws(() => one.socketsJoin("late"), { code: "ERR_SIO_REDIS_CLOSED" });
    }
    await emitter.flush();
    assert.equal(emitter.stats().published, 1_000);
    assert.equal((await events()).length, 1_000);
  });

  test("without Redis it ends within its limit, and rejects with what did not get out", async (t) => {
    const { emitter } = start(t, { client: `redis://127.0.0.1:${await freePort()}` });
    emitter.emit("lost");
    emitter.of("/chat").emit("lost");
    const flushed = emitter.flush();
    emitter.emit("lost");
    const closed = emitter.close();
    await within(
      assert.rejects(closed, { code: "ERR_SIO_REDIS_CLOSED", failed: 1 }),
      "the close",
      CLOSE_LIMIT,
    );
    await assert.rejects(flushed, { code: "ERR_SIO_REDIS_CLOSED", failed: 2 });
    assert.match(await warned("ERR_SIO_REDIS_CLOSED"), /before 3 messages were written/);
  });

  // Breaks when what an earlier flush, which nobody waits for, had asked for is nobody's any more.
  test("rejects also with what was flushed before", async (t) => {
    const { emitter } = start(t, { client: `redis://127.0.0.1:${await freePort()}` });
    emitter.emit("lost");
    emitter.flush();
    await assert.rejects(emitter.close(), { code: "ERR_SIO_REDIS_CLOSED", failed: 1 });
    const { failed, queueLength, queueBytes } = emitter.stats();
    assert.deepEqual(
      { failed, queueLength, queueBytes },
      { failed: 1, queueLength: 0, queueBytes: 0 },
    );
  });

  test("without Redis and with nothing on its way it ends at once", async (t) => {
    const { emitter } = start(t, { client: `redis://127.0.0.1:${await freePort()}` });
    await within(emitter.close(), "the close", 2_000);
    assert.deepEqual(takeWarnings(), []);
  });
});

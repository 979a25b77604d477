// Two applications on one Redis that are told apart by the database, the key prefix or the name of the
// stream, none of which PUB/SUB knows: requests of one do not reach the other.

"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");
const { Server } = require("socket.io");
const upstream = require("@socket.io/redis-streams-adapter");
const ours = require("../..");
const { createRedisClient } = require("../helpers/clients");
const { useRedis } = require("../helpers/cluster");
const { needsServer } = require("../helpers/configuration");
const { connectClient } = require("../helpers/socket-client");
const { ANSWER_TIMEOUT, settle, waitFor } = require("../helpers/wait");
const { takeWarnings } = require("./warnings");

const ADAPTERS = { native: ours, upstream };
/** @typedef {keyof typeof ADAPTERS} Kind */

/**
 * What an application has for itself.
 *
 * @typedef {object} Way
 * @property {string} [client]
 * @property {Record<string, unknown>} [clientOptions]
 * @property {Record<string, unknown>} [adapterOptions]
 */
/** @type {Record<string, (app: number) => Way>} */
const WAYS = {
  "the database": (app) => ({ clientOptions: { database: app } }),
  "the key prefix": (app) => ({ client: "ioredis", clientOptions: { keyPrefix: `app${app}:` } }),
  "the name of the stream": (app) => ({ adapterOptions: { streamName: `app${app}` } }),
  "the number of streams": (app) => ({ adapterOptions: { streamName: "x", streamCount: app } }),
};

/** Nodes of one application with a client each, which answer with the names of the nodes. */
class Application {
  /**
   * @param {string} name
   * @param {Kind[]} kinds of its nodes
   */
  constructor(name, kinds) {
    this.name = name;
    this.kinds = kinds;
    /** @type {Server[]} */
    this.ios = [];
    /** @type {import("../helpers/socket-client").SocketClient[]} */
    this.clients = [];
    /** @type {(() => Promise<void>)[]} */
    this.ends = [];
    /** Names of nodes that have sent a serverSideEmit() here. @type {string[]} */
    this.heard = [];
  }

  /** The names of its nodes. */
  get names() {
    return this.kinds.map((_, index) => `${this.name}${index}`);
  }

  /**
   * @param {import("../helpers/redis-server").RedisServer} redis
   * @param {Way} way
   */
  async start(redis, { client = "redis", clientOptions, adapterOptions }) {
    for (const [index, kind] of this.kinds.entries()) {
      const name = this.names[index];
      const handle = await createRedisClient(redis, { kind, client, options: clientOptions });
      const options = { blockTimeInMs: 200, heartbeatInterval: 300, ...adapterOptions };
      const io = new Server(0, {
        adapter: ADAPTERS[kind].createAdapter(handle.adapterArgument, options),
      });
      io.on(
        /** @type {any} */ ("ask"),
        (/** @type {string} */ sender, /** @type {any} */ answer) => {
          this.heard.push(sender);
          answer?.(name);
        },
      );
      const { port } = /** @type {any} */ (io).httpServer.address();
      const socket = await connectClient(`http://127.0.0.1:${port}`);
      socket.socket.on("ask", (answer) => answer(name));
      this.ios.push(io);
      this.clients.push(socket);
      this.ends.push(async () => {
        socket.disconnect();
        await io.close();
        await handle.close();
      });
    }
  }

  /** Node `index`, as far as `tsc` knows what it can do. @param {number} index @returns {any} */
  adapter(index) {
    return this.ios[index].of("/").adapter;
  }

  async close() {
    await Promise.all(this.ends.map((end) => end()));
  }
}

/**
 * @param {{ redis: import("../helpers/redis-server").RedisServer }} context
 * @param {(app: number) => Way} way
 * @param {Kind[][]} kinds of the nodes of each application
 */
function useApplications(context, way, kinds) {
  const apps = kinds.map((of, index) => new Application("ab"[index], of));
  before(async () => {
    for (const [index, app] of apps.entries()) {
      await app.start(context.redis, way(index + 1));
    }
  });
  after(() => Promise.all(apps.map((app) => app.close())));
  return apps;
}

/** Waits until a node counts so many servers. @param {Application} app @param {number} index */
async function isWhole(app, index, expected = app.kinds.length) {
  let count = 0;
  await waitFor(async () => (count = await app.adapter(index).serverCount()) === expected, {
    what: () => `${expected} servers, not ${count}`,
  });
}

/**
 * Asserts that a node's requests reach the nodes of its own application, and are over without
 * waiting for any other.
 *
 * @param {Application} app
 * @param {number} index
 */
async function assertRequests(app, index) {
  const io = app.ios[index];
  const ids = app.clients.map(({ socket }) => socket.id).sort();
  const sockets = await io.fetchSockets();
  assert.deepEqual(sockets.map(({ id }) => id).sort(), ids, "fetchSockets");
  const answers = await /** @type {any} */ (io).serverSideEmitWithAck("ask", app.names[index]);
  assert.deepEqual(
    answers,
    app.names.filter((_, other) => other !== index),
    "serverSideEmit",
  );
  const acknowledged = await io.timeout(ANSWER_TIMEOUT).emitWithAck("ask");
  assert.deepEqual(acknowledged.sort(), app.names, "acknowledgements");
  const adapter = app.adapter(index);
  assert.equal(await adapter.countSockets(), app.kinds.length, "countSockets");
  assert.deepEqual([...(await adapter.allRooms())].sort(), ids, "allRooms");
  assert.deepEqual([...(await adapter.socketIds())].sort(), ids, "socketIds");
}

describe("two applications on one Redis", () => {
  const context = useRedis();
  const SHARDED = { skip: needsServer(7, "sharded PUB/SUB") };

  /** @type {[string, (app: number) => Way, object][]} */
  const cases = [
    ...Object.entries(WAYS).map(
      ([what, way]) => /** @type {[string, (app: number) => Way, object]} */ ([what, way, {}]),
    ),
    [
      "the name of the stream, with sharded PUB/SUB",
      (app) => ({ adapterOptions: { streamName: `sharded${app}`, useShardedPubSub: true } }),
      SHARDED,
    ],
  ];
  for (const [what, way, options] of cases) {
    describe(`told apart by ${what}`, options, () => {
      const apps = useApplications(context, way, [
        ["native", "native"],
        ["native", "native"],
      ]);

      test("each counts its own nodes", async () => {
        for (const app of apps) {
          for (const index of [0, 1]) {
            await isWhole(app, index);
            assert.equal(app.adapter(index).stats().members, 2);
          }
        }
      });

      test("requests, acknowledgements and serverSideEmit stay in their application", async () => {
        for (const app of apps) {
          for (const index of [0, 1]) {
            await assertRequests(app, index);
          }
        }
        await settle();
        for (const { heard, names } of apps) {
          assert.deepEqual([...heard].sort(), names, "each has heard its own nodes only");
        }
      });
    });
  }

  for (const what of ["the database", "the key prefix", "the name of the stream"]) {
    describe(`told apart by ${what}, one of them with a node of upstream`, () => {
      const apps = useApplications(context, WAYS[what], [["native", "upstream"], ["native"]]);
      const [mixed, other] = apps;

      test("requests of ours reach it and not the other application", async () => {
        await isWhole(mixed, 0);
        await assertRequests(mixed, 0);
        await settle();
        assert.deepEqual(other.heard, []);
      });

      test("its requests are answered", async () => {
        const answered = (await mixed.ios[1].fetchSockets()).map(({ id }) => id);
        for (const { socket } of mixed.clients) {
          assert.ok(answered.includes(/** @type {string} */ (socket.id)));
        }
        const answers = await /** @type {any} */ (mixed.ios[1]).serverSideEmitWithAck("ask", "u");
        assert.ok(answers.includes("a0"));
      });
    });
  }
});

describe("the warning of shared channels", () => {
  const CODE = "SIO_REDIS_SHARED_CHANNELS";

  /**
   * What is warned of when an adapter is made.
   *
   * @param {any} settings
   * @param {Record<string, unknown>} [options]
   */
  async function warned(settings, options) {
    takeWarnings();
    ours.createAdapter(settings, options);
    await settle();
    return takeWarnings().filter(({ code }) => code === CODE);
  }

  for (const [what, settings, options] of /** @type {[RegExp, any, any][]} */ ([
    [/the database 5 is set/, "redis://localhost/5", {}],
    [/the key prefix "mine:" is set/, { keyPrefix: "mine:" }, {}],
    [/`streamName` "mine" is set/, {}, { streamName: "mine" }],
    [/the database 6 is set/, { database: 6, keyPrefix: "p:" }, { useShardedPubSub: true }],
  ])) {
    test(`comes once: ${what.source}`, async () => {
      const [{ message }, ...others] = await warned(settings, options);
      assert.match(message, what);
      assert.match(message, /Set `channelPrefix`/);
      assert.deepEqual([others, await warned(settings, options)], [[], []]);
    });
  }

  for (const [what, settings, options] of /** @type {[string, any, any][]} */ ([
    ["nothing is set", {}, {}],
    ["`streamName` is its default", { database: 0 }, { streamName: "socket.io" }],
    ["`channelPrefix` is set as well", "redis://localhost/7", { channelPrefix: "mine" }],
    [
      "`channelPrefix` is set to its default",
      "redis://localhost/8",
      { channelPrefix: "socket.io" },
    ],
    ["requests travel in the stream", "redis://localhost/9", { requestsVia: "stream" }],
  ])) {
    test(`does not come if ${what}`, async () => {
      assert.deepEqual(await warned(settings, options), []);
    });
  }
});

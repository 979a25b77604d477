// What is old is not new: neither a stream that was away for a while, nor an offset of long ago, nor an
// entry that was written twice, brings packets that a client has had, or that were emitted before its
// session. And what is written again since its first entry is gone is not old.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { startNodeOn } = require("../helpers/node");
const { ask, startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { settle, waitFor } = require("../helpers/wait");
const { lastEntryId } = require("../helpers/wire");
const { Emitter } = require("../..");
const { defer } = require("./defer");
const { EVENT, Traffic } = require("./traffic");
require("./warnings"); // connections that are replaced are warned of

/** @typedef {import("node:test").TestContext} TestContext */
/** @typedef {import("../../index").Loss} Loss */

const STREAM = "socket.io";
const OLD = "old";
/** Packets from before, of each writer. */
const COUNT = 300;
/** More than a look at the stream takes. */
const LOOK = 1_500;

/** @param {TestContext} t */
async function startServer(t) {
  const redis = await startRedis();
  defer(t, () => redis.stop());
  const admin = await createAdmin(redis);
  defer(t, () => admin.close());
  return { redis, admin };
}

/** @param {TestContext} t @param {number} port @param {any} [options] */
async function startNode(t, port, options = {}) {
  const settings = { host: "127.0.0.1", port };
  const node = await startNodeOn({ adapterArgument: settings, close: async () => {} }, options);
  defer(t, () => node.close());
  const adapter = /** @type {any} */ (node.io.of("/").adapter);
  return { ...node, adapter };
}

/** Writes as an upstream node does. @param {import("../helpers/clients").Admin} admin @param {number} number */
function addOfUpstream(admin, number) {
  const data = {
    opts: { rooms: [], except: [], flags: {} },
    packet: { type: 2, nsp: "/", data: [OLD, `upstream ${number}`] },
  };
  const fields = ["uid", "feedfeedfeedfeed", "nsp", "/", "type", "3", "data", JSON.stringify(data)];
  return admin.command("XADD", STREAM, "*", ...fields);
}

/**
 * What takes the stream away, and puts it back as it was.
 *
 * @typedef {Awaited<ReturnType<typeof startServer>> & { proxy: import("../helpers/tcp-proxy").TcpProxy }} Place
 * @type {Record<string, (place: Place, t: TestContext) => Promise<() => Promise<unknown>>>}
 */
const AWAY = {
  "is deleted, and put back out of a backup": async ({ admin }) => {
    const backup = await admin.client.withTypeMapping({ 36: Buffer }).dump(STREAM);
    await admin.command("DEL", STREAM);
    return () => admin.client.restore(STREAM, 0, backup, { REPLACE: true });
  },
  "is not there while the address leads to an empty server": async ({ redis, proxy }, t) => {
    const empty = await startServer(t);
    proxy.moveTo(empty.redis.port);
    return async () => proxy.moveTo(redis.port);
  },
};

describe("a stream that", { concurrency: 4 }, () => {
  for (const [what, takeAway] of Object.entries(AWAY)) {
    for (const requestsVia of ["pubsub", "stream"]) {
      // Breaks when the reader takes each entry of the stream that is back for a new one.
      test(`${what}, brings nothing again (requests via ${requestsVia})`, async (t) => {
        const server = await startServer(t);
        const { redis, admin } = server;
        const before = new Emitter(redis.url);
        for (let i = 0; i < COUNT; i++) {
          before.emit(OLD, `ours ${i}`);
          await addOfUpstream(admin, i);
        }
        await before.close();
        const proxy = await startProxy(redis.port);
        defer(t, () => proxy.close());
        const options = { adapterOptions: { requestsVia } };
        const nodes = await Promise.all([0, 1].map(() => startNode(t, proxy.port, options)));
        // A node reads what was written when it was started: nobody may be there yet.
        await waitFor(
          async () => {
            const last = await lastEntryId(admin, STREAM);
            return nodes.every(({ adapter }) => adapter.stats().position === last);
          },
          { what: "the nodes to have read everything" },
        );
        const clients = await Promise.all(nodes.map(({ url }) => connectClient(url)));
        defer(t, () => clients.forEach((client) => client.disconnect()));
        /** @type {Loss[][]} */
        const losses = nodes.map(({ adapter }) => {
          /** @type {Loss[]} */
          const own = [];
          adapter.on("loss", (/** @type {Loss} */ loss) => own.push(loss));
          return own;
        });
        const ios = nodes.map(({ io }) => io);
        const traffic = new Traffic(ios, clients);
        for (let i = 0; i < 20; i++) {
          ios.forEach((_, from) => traffic.emit(from));
        }
        await traffic.assertComplete();
        // A look at the stream as it is.
        await settle(LOOK);

        const putBack = await takeAway({ ...server, proxy }, t);
        await waitFor(() => losses.every((own) => own.length > 0), {
          what: () => `each node to notice it: ${JSON.stringify(losses)}`,
        });
        await settle(LOOK);
        await putBack();
        await waitFor(() => nodes.every(({ adapter }) => adapter.stats().connected), {
          what: "the connections",
        });
        await settle(LOOK);
        const flows = traffic.flows();
        for (let i = 0; i < 20; i++) {
          ios.forEach((_, from) => traffic.emit(from));
        }
        await flows;
        await traffic.assertComplete();
        await settle(LOOK);
        for (const client of clients) {
          assert.equal(client.received(OLD).length, 0, "packets from before");
          assert.equal(client.received(EVENT).length, traffic.total, "packets doubled");
        }
      });
    }
  }
});

describe("a client whose offset is of long ago", () => {
  for (const back of ["the same node", "another node"]) {
    for (const liveSessions of [true, false]) {
      // socket.io-client keeps its offset when its session was not recovered. Breaks when what a client
      // has missed begins at its offset although its session began later.
      test(`gets at ${back} what came in its session only (liveSessions: ${liveSessions})`, async (t) => {
        const { redis } = await startServer(t);
        const options = {
          adapterOptions: { liveSessions },
          serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } },
        };
        const earlier = await startNode(t, redis.port, options);
        const client = await connectClient(earlier.url);
        defer(t, () => client.disconnect());
        earlier.io.emit(OLD, -1);
        await client.receives(OLD);
        const offset = /** @type {any} */ (client.socket)._lastOffset;
        client.disconnect();
        for (let i = 0; i < COUNT; i++) {
          earlier.io.emit(OLD, i);
        }
        await earlier.close();

        // Fresh nodes, which have read nothing.
        const nodes = await Promise.all([0, 1].map(() => startNode(t, redis.port, options)));
        await waitFor(() => nodes.every(({ adapter }) => adapter.stats().position !== undefined));
        const late = await connectClient(nodes[0].url);
        defer(t, () => late.disconnect());
        const server = [...nodes[0].io.of("/").sockets.values()][0];
        Object.assign(late.socket, { _lastOffset: offset });
        late.cut();
        await waitFor(() => nodes[0].io.of("/").sockets.size === 0, { what: "the disconnection" });
        nodes[1].io.emit(EVENT, "missed");
        await waitFor(() => nodes[0].adapter.stats().read > 0, { what: "it to be read" });
        // Without live sessions nobody can ask for one that is not saved yet.
        await waitFor(() => nodes[0].adapter.stats().sessionsSaved > 0, { what: "the session" });
        await late.reconnect(nodes[back === "the same node" ? 0 : 1].url);
        assert.equal(late.socket.recovered, true);
        assert.equal(late.socket.id, server.id);
        await late.receives(EVENT);
        await settle();
        assert.deepEqual(late.received(OLD), []);
        assert.deepEqual(
          late.received(EVENT).map(([packet]) => packet),
          ["missed"],
        );
      });
    }
  }
});

describe("a client that leaves between an entry and its double", () => {
  /** More than the history below takes. */
  const PACKETS = 50;

  /** When a node that the client comes back to was started. @type {Record<string, number | undefined>} */
  const BACK_AT = {
    "the same node": undefined,
    "another node": undefined,
    "a node that was started between the two": 0,
    "a node that was started later": 1,
    "a node that was started when more was written": 2,
  };

  for (const [back, startedAt] of Object.entries(BACK_AT)) {
    // As the writer leaves it if it could not end its old connection. Breaks when a restore that reads the
    // stream takes the double for new, since it does not read the entry before.
    test(`does not get the double at ${back}`, async (t) => {
      const { redis, admin } = await startServer(t);
      const options = {
        adapterOptions: { historyBytes: 1_000 },
        serverOptions: { connectionStateRecovery: {} },
      };
      const nodes = await Promise.all([0, 1].map(() => startNode(t, redis.port, options)));
      const [home, other] = nodes;
      const client = await connectClient(home.url);
      defer(t, () => client.disconnect());
      other.io.emit(EVENT, "twice");
      home.io.emit(EVENT, "behind it");
      await client.receives(EVENT, 2);
      client.cut();
      await waitFor(() => home.adapter.stats().sessionsSaved > 0, { what: "the session" });
      /** @type {any} */
      let later;
      const startLater = async (/** @type {number} */ moment) => {
        if (moment === startedAt) {
          later = await startNode(
            t,
            redis.port,
            moment === 0 ? { ...options, adapterOptions: {} } : options,
          );
          const tail = await lastEntryId(admin, STREAM);
          await waitFor(() => later.adapter.stats().position === tail);
        }
      };
      await startLater(0);
      const entries = await admin.command("XRANGE", STREAM, "-", "+");
      for (const [, fields] of entries) {
        await admin.command("XADD", STREAM, "*", ...fields);
      }
      await startLater(1);
      for (let i = 0; i < PACKETS; i++) {
        other.io.emit(EVENT, i, "x".repeat(100));
      }
      await waitFor(() => other.adapter.stats().published === 1 + PACKETS);
      await startLater(2);
      const last = await lastEntryId(admin, STREAM);
      await waitFor(() => nodes.every(({ adapter }) => adapter.stats().position === last), {
        what: "the nodes to have read everything",
      });
      assert.deepEqual(
        nodes.map(({ adapter }) => adapter.stats().doubled),
        [2, 2],
      );
      const before = client.received(EVENT).map(([packet]) => packet);
      await client.reconnect((later ?? (back === "the same node" ? home : other)).url);
      assert.equal(client.socket.recovered, true);
      await client.receives(EVENT, PACKETS + 2);
      await settle();
      assert.deepEqual(
        client.received(EVENT).map(([packet]) => packet),
        [...before, ...Array(PACKETS).keys()],
      );
    });
  }
});

describe("an entry that only a master which is gone had, and that is written again", () => {
  /** Waits until the replica has all that the master has. @param {number} master @param {number} replica */
  async function isReplicated(master, replica) {
    const offsetOf = async (/** @type {number} */ port) =>
      (await ask(port, ["INFO replication"], /master_repl_offset:(\d+)/))[1];
    await waitFor(async () => (await offsetOf(master)) === (await offsetOf(replica)), {
      interval: 20,
      what: "the replica to have everything",
    });
  }

  for (const historyBytes of [0, undefined]) {
    // Breaks when a restore takes the entry for a double that the client has, and when the number of
    // entries that the new master reports is taken for that of another stream.
    test(`is no loss, and a client that was away gets it once (historyBytes: ${historyBytes})`, async (t) => {
      const [first, second] = [await startRedis(), await startRedis()];
      defer(t, () => Promise.all([first.stop(), second.stop()]));
      await ask(second.port, [`REPLICAOF 127.0.0.1 ${first.port}`], /\+OK/);
      await waitFor(
        () => ask(second.port, ["INFO replication"], /master_link_status:up/).catch(() => false),
        { interval: 20, what: "the replica" },
      );
      // The first master executes the batch, and its reply never arrives.
      let isArmed = false;
      const proxy = await startProxy(first.port, ({ notes }, direction, chunk) => {
        notes.isLost ||= isArmed && direction === "up" && chunk.includes('"written again"');
        if (isArmed && notes.isLost && direction === "down") {
          isArmed = false;
          proxy.target = second.port;
          return { pass: 0 };
        }
      });
      defer(t, () => proxy.close());
      const node = await startNode(t, proxy.port, {
        adapterOptions: historyBytes === undefined ? {} : { historyBytes },
        serverOptions: { connectionStateRecovery: {} },
      });
      /** @type {Loss[]} */
      const losses = [];
      node.adapter.on("loss", (/** @type {Loss} */ loss) => losses.push(loss));
      const [away, there] = [await connectClient(node.url), await connectClient(node.url)];
      defer(t, () => [away, there].forEach((client) => client.disconnect()));
      node.io.emit(EVENT, "before");
      await Promise.all([away, there].map((client) => client.receives(EVENT)));
      away.cut();
      await waitFor(() => node.adapter.stats().sessionsSaved > 0, { what: "the session" });
      await settle(LOOK); // at the stream of the first master
      await isReplicated(first.port, second.port);
      await ask(second.port, ["REPLICAOF NO ONE"], /\+OK/);
      isArmed = true;
      node.io.emit(EVENT, "written again");
      await waitFor(() => node.adapter.stats().doubled === 1, { what: "the second entry" });
      node.io.emit(EVENT, "behind it");
      await there.receives(EVENT, 3);
      await settle(LOOK);
      assert.deepEqual(losses, []);
      await away.reconnect(node.url);
      assert.equal(away.socket.recovered, true);
      await away.receives(EVENT, 3);
      await settle();
      for (const client of [away, there]) {
        assert.deepEqual(
          client.received(EVENT).map(([packet]) => packet),
          ["before", "written again", "behind it"],
        );
      }
    });
  }
});

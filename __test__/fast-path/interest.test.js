// A broadcast to a room that is joined by something that stands before it is never lost, whatever
// code of the user's joins the room.
//
// Breaks if the engine does not keep what a slice leaves out (`src/engine/left_out.rs`), or if JS does
// not ask for it after an event that has filled a room (`lib/turn.js`).

"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");
const { useCluster } = require("../helpers/cluster");
const { once, waitFor, within } = require("../helpers/wait");
const { MessageType, encode } = require("../helpers/wire");
const { RawWebSocket } = require("./raw-client");
const { SyncRedis } = require("./sync-redis");

const ROUNDS = 10_000;
/**
 * Rounds that are written at once, where the event loop is blocked meanwhile. So few that what joins
 * and what is sent to the rooms are handed over together.
 */
const GROUP = 100;
/** Rounds for which another client connects anew. */
const RECONNECTS = 1_000;
const STREAM = "socket.io";
const REQUESTS = "socket.io#/#";
const SENDER = "feedfeedfeedfeed";

/** @typedef {(string | number | Uint8Array)[]} Command */

/** @param {number} type @param {object} data @returns {Command} */
const entry = (type, data) => [
  ...["XADD", STREAM, "*", "uid", SENDER, "nsp", "/", "type", String(type)],
  ...["data", JSON.stringify(data)],
];
/** @param {string[]} rooms */
const to = (...rooms) => ({ rooms, except: [], flags: {} });
/** @param {string} room @param {any[]} data */
const broadcast = (room, ...data) =>
  entry(MessageType.BROADCAST, { opts: to(room), packet: { type: 2, nsp: "/", data } });
/** @param {any[]} packet */
const serverSideEmit = (...packet) => entry(MessageType.SERVER_SIDE_EMIT, { packet });
/** @param {any[]} packet @returns {Command} */
const request = (...packet) => {
  const message = { uid: SENDER, nsp: "/", type: MessageType.SERVER_SIDE_EMIT, data: { packet } };
  return ["PUBLISH", REQUESTS, encode(message)];
};

/** Event and arguments of each packet that a client has. @param {RawWebSocket} client */
const eventsOf = (client) =>
  client.packets.map(([{ bytes }]) => JSON.parse(bytes.toString().slice(1)));

describe("a broadcast reaches who joined its room by what stands before it", () => {
  /** @type {RawWebSocket} */
  let client;
  /** @type {SyncRedis} */
  let redis;
  // Before the server that they are connected to.
  after(async () => {
    client?.close();
    await redis?.close();
  });
  const context = useCluster({ nodes: 1, clientsPerNode: 0 });
  /** @type {any} the server's side of the client */
  let socket;

  before(async () => {
    const { cluster } = context;
    redis = new SyncRedis(context.redis);
    const connected = once(cluster.io(0), "connection");
    client = await new RawWebSocket(cluster.nodes[0].url, "/").connected();
    [socket] = await connected;
    await context.cluster.whole();
  });

  const stats = () => context.cluster.adapter(0).stats();

  /**
   * Asserts that the client receives each round of an event once, in order, and nothing else.
   *
   * @param {string} event
   * @param {number} [rounds]
   * @param {string[]} [around] further events of each round
   */
  async function assertAllReceived(event, rounds = ROUNDS, around = []) {
    const end = `end of ${event}`;
    await context.cluster.io(0).emit(end);
    await waitFor(() => eventsOf(client).at(-1)?.[0] === end, { what: end });
    const events = eventsOf(client)
      .slice(0, -1)
      .filter(([name]) => !around.includes(name));
    client.packets = [];
    const wrong = Array.from({ length: rounds }, (_, i) => i).filter(
      (i) => events[i]?.[0] !== event || events[i][1] !== i,
    );
    const first = `${wrong.length} of ${rounds} are not in place, first ${wrong[0]}`;
    assert.ok(wrong.length === 0 && events.length === rounds, `${first}: ${events[wrong[0]]}`);
  }

  /** A round: what joins its room, and broadcasts around it. @param {string} event @param {number} i */
  function joinAndLeave(event, i) {
    const room = `${event} ${i}`;
    return [
      broadcast(room, "too early", i),
      entry(MessageType.SOCKETS_JOIN, { opts: to(socket.id), rooms: [room] }),
      broadcast(room, event, i),
      entry(MessageType.SOCKETS_LEAVE, { opts: to(socket.id), rooms: [room] }),
      broadcast(room, "too late", i),
    ];
  }

  /**
   * Runs rounds in groups, and blocks the event loop until a group waits for it as a whole.
   *
   * @param {(round: number) => Command[][]} steps transactions of a round: each is read before the
   * next is written
   */
  async function inBlockedGroups(steps) {
    for (let from = 0; from < ROUNDS; from += GROUP) {
      const rounds = Array.from({ length: GROUP }, (_, i) => steps(from + i));
      for (let step = 0; step < rounds[0].length; step++) {
        const commands = rounds.flatMap((round) => round[step]);
        const replies = redis.transaction(commands);
        // Of entries, those that nobody can want any more end in the engine.
        redis.blockUntil(() =>
          commands[0][0] === "XADD"
            ? stats().position === replies.at(-1)
            : stats().inboxLength === commands.length,
        );
      }
      await waitFor(() => stats().inboxLength === 0, {
        interval: 1,
        what: "the inbox to be empty",
      });
    }
  }

  test("by socketsJoin, while the node is idle", async () => {
    for (let i = 0; i < ROUNDS; i++) {
      const transaction = context.admin.client.multi();
      joinAndLeave("idle", i).forEach((command) => transaction.addCommand(command));
      const received = new Promise((resolve) => (client.onPacket = () => resolve(undefined)));
      await transaction.exec();
      await within(received, `round ${i}`);
    }
    await assertAllReceived("idle");
  });

  test("by socketsJoin, while the event loop is blocked", async () => {
    await inBlockedGroups((i) => [joinAndLeave("blocked", i)]);
    await assertAllReceived("blocked");
  });

  /** The user's handlers of an event that other servers send. @type {Record<string, (room: string) => unknown>} */
  const HANDLERS = {
    "a handler": (room) => socket.join(room),
    "a handler that throws afterwards": (room) => {
      socket.join(room);
      throw new Error(`after joining ${room}`);
    },
    "an async handler that awaits nothing before": async (room) => {
      await socket.join(room);
    },
  };

  for (const [name, handler] of Object.entries(HANDLERS)) {
    const event = name;
    before(() => {
      // Each exception becomes a warning, which Node would print.
      process.removeAllListeners("warning");
      context.cluster.io(0).on(/** @type {any} */ (event), handler);
    });

    test(`by ${name} of serverSideEmit, through the stream`, async () => {
      await inBlockedGroups((i) => [
        [
          serverSideEmit(event, `${event}, stream ${i}`),
          broadcast(`${event}, stream ${i}`, "stream", i),
        ],
      ]);
      await assertAllReceived("stream");
    });

    test(`by ${name} of serverSideEmit, through PUB/SUB`, async () => {
      await inBlockedGroups((i) => [
        [request(event, `${event}, pubsub ${i}`)],
        [broadcast(`${event}, pubsub ${i}`, "pubsub", i)],
      ]);
      await assertAllReceived("pubsub");
    });
  }

  /** A broadcast that goes to the client's own room. @param {any[]} data */
  const direct = (...data) => broadcast(socket.id, ...data);

  test("by a listener for outgoing packets", async () => {
    const listener = (/** @type {string} */ event, /** @type {number} */ i) => {
      if (event === "joins") {
        socket.join(`listener ${i}`);
      } else if (event === "leaves") {
        socket.leave(`listener ${i}`);
      }
    };
    socket.onAnyOutgoing(listener);
    await inBlockedGroups((i) => [
      [
        broadcast(`listener ${i}`, "too early", i),
        direct("joins", i),
        broadcast(`listener ${i}`, "listener", i),
        direct("leaves", i),
        broadcast(`listener ${i}`, "too late", i),
      ],
    ]);
    socket.offAnyOutgoing(listener);
    await assertAllReceived("listener", ROUNDS, ["joins", "leaves"]);
  });

  test("by a listener for a packet that it gets since another listener has joined", async () => {
    const listener = (/** @type {string} */ event, /** @type {number} */ i) => {
      if (event === "joins") {
        socket.join(`first ${i}`);
      } else if (event === "joins again") {
        socket.join(`second ${i}`);
        socket.leave(`first ${i}`);
      }
    };
    socket.onAnyOutgoing(listener);
    await inBlockedGroups((i) => [
      [
        direct("joins", i),
        broadcast(`second ${i}`, "too early", i),
        broadcast(`first ${i}`, "joins again", i),
        broadcast(`second ${i}`, "again", i),
        broadcast(`first ${i}`, "too late", i),
      ],
    ]);
    socket.offAnyOutgoing(listener);
    await assertAllReceived("again", ROUNDS, ["joins", "joins again"]);
  });

  describe("of another client", () => {
    /** @type {RawWebSocket} */
    let other;
    let event = "";
    let round = 0;
    before(async () => {
      const connected = once(context.cluster.io(0), "connection");
      other = await new RawWebSocket(context.cluster.nodes[0].url, "/").connected();
      (await connected)[0].disconnect();
    });
    after(() => other.close());

    /** Connects the other client, which has been disconnected, and waits for its socket. */
    async function connect() {
      const connected = once(context.cluster.io(0), "connection");
      other.send("40");
      const [otherSocket] = await connected;
      return otherSocket;
    }

    /** @param {any} socket that something disconnects, by its room */
    const disconnect = ({ id }) =>
      entry(MessageType.DISCONNECT_SOCKETS, { opts: to(id), close: false });

    const WAYS = {
      disconnect: () => socket.join(`${event} ${round}`),
      "disconnect, which throws": () => {
        socket.join(`${event} ${round}`);
        throw new Error("after joining");
      },
    };

    for (const [name, handler] of Object.entries(WAYS)) {
      test(`by its handler of ${name}`, async () => {
        event = name;
        for (round = 0; round < RECONNECTS; round++) {
          const otherSocket = await connect();
          otherSocket.on("disconnect", handler);
          const received = new Promise((resolve) => (client.onPacket = () => resolve(undefined)));
          const transaction = context.admin.client.multi();
          const room = `${event} ${round}`;
          for (const command of [disconnect(otherSocket), broadcast(room, event, round)]) {
            transaction.addCommand(/** @type {string[]} */ (command));
          }
          await transaction.exec();
          await within(received, `round ${round}`);
        }
        await assertAllReceived(event, RECONNECTS);
      });
    }

    test("by its handler of connection, which broadcasts to the room as well", async () => {
      event = "connection";
      context.cluster.io(0).on("connection", (connected) => {
        socket.join(`${event} ${round}`);
        context.cluster.io(0).to(`${event} ${round}`).emit(event, round);
        connected.disconnect();
      });
      for (round = 0; round < RECONNECTS; round++) {
        const received = new Promise((resolve) => (client.onPacket = () => resolve(undefined)));
        other.send("40");
        await within(received, `round ${round}`);
      }
      await assertAllReceived(event, RECONNECTS);
    });
  });
});

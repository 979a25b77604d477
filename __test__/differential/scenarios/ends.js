// What clients get that are disconnected, or leave a room, right after something was emitted to them.

"use strict";

const { once } = require("../../helpers/wait");

/** @typedef {import("../servers").Servers} Servers */

const LOST = "what waits for Redis is not sent to a client that is disconnected meanwhile";

/**
 * What is done to a client's socket at the end.
 *
 * @type {Record<string, (io: import("socket.io").Server, socket: any) => void>}
 */
const ENDS = {
  "an emit to the socket": (io, socket) => {
    socket.emit("bye");
    socket.disconnect();
  },
  "an emit to the socket, and its connection": (io, socket) => {
    socket.emit("bye");
    socket.disconnect(true);
  },
  "an emit to its ID": (io, socket) => {
    io.to(socket.id).emit("bye", Buffer.from("x"), { at: new Date(0) });
    socket.disconnect(true);
  },
  "several emits": (io, socket) => {
    socket.join(["a", "b"]);
    io.local.emit("to all here", 0);
    io.emit("to all", 1);
    io.to("a").to("b").emit("to both", 2);
    io.to("c").emit("not for it", 3);
    io.except("b").emit("not for it", 4);
    io.to("a").compress(false).emit("to a", 5);
    socket.broadcast.emit("not for it", 6);
    socket.disconnect();
    io.emit("too late", 7);
  },
  "a volatile emit": (io, socket) => {
    io.volatile.to(socket.id).emit("bye");
    socket.disconnect();
  },
  "rooms that it joins and leaves": (io, socket) => {
    io.to("d").emit("too early");
    io.in(socket.id).socketsJoin("d");
    io.to("d").emit("in d");
    io.except("d").emit("not for it");
    io.in("d").socketsLeave(["d"]);
    io.to("d").emit("too late");
    socket.disconnect();
  },
  "a disconnect of its room": (io, socket) => {
    io.emit("before");
    io.in(socket.id).disconnectSockets();
    io.emit("after");
    socket.disconnect();
  },
  "a listener that disconnects it": (io, socket) => {
    socket.onAnyOutgoing((/** @type {string} */ event) => {
      if (event === "first") {
        socket.disconnect();
      }
    });
    io.emit("first");
    socket.disconnect();
  },
  "a handler that disconnects it": (io, socket) => {
    io.emit("in front");
    socket.once("disconnecting", () => {
      io.to(socket.id).emit("too late");
      socket.disconnect();
    });
    socket.disconnect();
  },
};

/**
 * What a client has received, without the offsets: what is sent in front of the end has none, since the
 * client cannot be recovered.
 *
 * @param {Servers} servers
 * @param {import("../../helpers/socket-client").SocketClient} client
 */
const eventsOf = (servers, client) =>
  servers
    .events(client)
    .map((event) => event.filter((/** @type {any} */ arg) => arg !== "an offset"));

/** @param {object} [options] @returns {import("../differential.test").Scenario} */
const ends = (options) => ({
  options,
  differs: { upstream: LOST },
  run: async (servers) => {
    const other = await servers.connect();
    const seen = [];
    for (const [name, end] of Object.entries(ENDS)) {
      const client = await servers.connect();
      const disconnected = once(/** @type {any} */ (client.socket), "disconnect");
      end(servers.io(), servers.socketOf(client));
      const [reason] = await disconnected;
      seen.push([name, reason, eventsOf(servers, client)]);
      // The next client gets what still waits when it connects.
      await servers.settle(other);
    }
    await servers.settle();
    return { seen, other: eventsOf(servers, other) };
  },
});

/** @type {Record<string, import("../differential.test").Scenario>} */
module.exports = {
  "an emit and a disconnect": ends(),
  "an emit and a disconnect, with recovery": ends({ connectionStateRecovery: {} }),
  "an emit to one namespace and a disconnect in another": {
    differs: { upstream: LOST },
    run: async (servers) => {
      servers.io().of("/other");
      const client = await servers.connect();
      const other = client.socket.io.socket("/other");
      const connected = once(/** @type {any} */ (other), "connect");
      await connected;
      /** @type {any[]} */
      const got = [];
      other.onAny((...args) => got.push(args));
      const disconnected = once(/** @type {any} */ (other), "disconnect");
      servers.io().of("/other").emit("bye");
      servers.socketOf(client).disconnect(true);
      await disconnected;
      return got;
    },
  },
  "disconnectSockets() and an emit": {
    run: async (servers) => {
      const client = await servers.connect();
      const disconnected = once(/** @type {any} */ (client.socket), "disconnect");
      servers.io().emit("before");
      servers.io().in(client.id).disconnectSockets();
      servers.io().emit("after");
      await disconnected;
      return servers.events(client);
    },
  },
  "an emit and the server's close": {
    differs: { upstream: LOST },
    run: async (servers) => {
      const clients = [await servers.connect(), await servers.connect()];
      const [socket] = clients.map((client) => servers.socketOf(client));
      const disconnected = clients.map((client) =>
        once(/** @type {any} */ (client.socket), "disconnect"),
      );
      servers.io().in(socket.id).socketsJoin("a");
      // One packet for each: in memory, what a transport does not take at once is discarded.
      servers.io().to("a").emit("shutdown", 1);
      servers.io().except("a").emit("shutdown", 2);
      servers.io().close();
      await Promise.all(disconnected);
      return clients.map((client) => servers.events(client));
    },
  },
  "an emit to a room and a leave": {
    differs: { memory: "the packet comes at its place in the stream; the leave is done at once" },
    run: async (servers) => {
      const client = await servers.connect();
      const socket = servers.socketOf(client);
      socket.join("a");
      servers.io().to("a").emit("in a");
      socket.leave("a");
      await servers.settle();
      return servers.events(client);
    },
  },
};

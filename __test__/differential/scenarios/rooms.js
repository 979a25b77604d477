// Rooms, their events, and what changes them on all nodes.

"use strict";

const { once, waitFor } = require("../../helpers/wait");

/** @typedef {import("../servers").Servers} Servers */

/** The rooms of each client's socket. @param {Servers} servers @param {import("../../helpers/socket-client").SocketClient[]} clients */
const roomsOf = (servers, clients) =>
  clients.map((client) =>
    [...servers.socketOf(client).rooms].filter((room) => room !== client.id).sort(),
  );

/** Notes the room events of a namespace. @param {import("socket.io").Server} io */
function noteEvents(io) {
  /** @type {any[]} */
  const seen = [];
  for (const event of ["create-room", "join-room", "leave-room", "delete-room"]) {
    io.of("/").adapter.on(event, (...args) => seen.push([event, ...args]));
  }
  return seen;
}

/** @type {Record<string, import("../differential.test").Scenario>} */
module.exports = {
  "events of rooms": {
    run: async (servers) => {
      const client = await servers.connect();
      const socket = servers.socketOf(client);
      const seen = noteEvents(servers.io());
      socket.join("a");
      socket.join("a");
      socket.leave("b");
      servers.io().in(socket.id).socketsJoin(["b", "c"]);
      await servers.settle();
      servers.io().in("b").socketsLeave("a");
      await servers.settle();
      return seen;
    },
  },
  "events of rooms of a client that comes and goes": {
    run: async (servers) => {
      await servers.connect();
      const seen = noteEvents(servers.io());
      servers.io().use((socket, next) => {
        socket.join("before");
        setTimeout(next, 5);
      });
      servers.io().on("connection", (socket) => {
        seen.push(["connection", [...socket.rooms].length]);
        socket.join("after");
        socket.on("disconnecting", () => seen.push(["disconnecting", [...socket.rooms].length]));
        socket.on("disconnect", (reason) => seen.push(["disconnect", reason, socket.rooms.size]));
      });
      const client = await servers.connect();
      const socket = servers.socketOf(client);
      const gone = once(socket, "disconnect");
      client.disconnect();
      await gone;
      return seen;
    },
  },
  "a middleware that refuses a client that has joined a room": {
    run: async (servers) => {
      const seen = noteEvents(servers.io());
      servers.io().use((socket, next) => {
        socket.join("before");
        next(Object.assign(new Error("not you"), { data: { why: "x" } }));
      });
      const client = servers.client();
      const error = await client.connected().then(
        () => undefined,
        (error) => ({ message: error.message, data: error.data }),
      );
      return {
        seen: seen.map(([event]) => event),
        error,
        left: servers.io().of("/").adapter.rooms.size,
      };
    },
  },
  "joins and leaves from another node": {
    nodes: 2,
    races: { upstream: "own packets are sent when Redis has replied, own leaves are done at once" },
    run: async (servers) => {
      const clients = [await servers.connect(0), await servers.connect(1)];
      servers.socketOf(clients[1]).join(["a", "x"]);
      servers.io(0).socketsJoin("all");
      servers.io(0).in("a").socketsJoin(["b", "c"]);
      servers.io(0).in("a").except("c").socketsJoin("nobody");
      servers.io(0).in("all").socketsLeave(["x", "y"]);
      servers.io(0).to("b").emit("to b");
      await servers.settle();
      servers.io(1).in("all").socketsLeave("all");
      await waitFor(() => servers.all.every((io) => !io.of("/").adapter.rooms.has("all")));
      return [roomsOf(servers, clients), clients.map((client) => servers.events(client))];
    },
  },
  "a join and an emit to the room at once": {
    nodes: 2,
    run: async (servers) => {
      const clients = [await servers.connect(0), await servers.connect(1)];
      for (let i = 0; i < 20; i++) {
        servers.io(0).socketsJoin(`room ${i}`);
        servers.io(0).to(`room ${i}`).emit("in", i);
        servers.io(0).socketsLeave(`room ${i}`);
        servers.io(0).to(`room ${i}`).emit("out", i);
      }
      await servers.settle();
      return clients.map((client) => servers.events(client));
    },
    races: { upstream: "own packets are sent when Redis has replied, own joins are done at once" },
  },
  "a listener for outgoing packets that joins": {
    nodes: 2,
    run: async (servers) => {
      const client = await servers.connect(1);
      const socket = servers.socketOf(client);
      socket.join("r1");
      socket.onAnyOutgoing((/** @type {string} */ event) => {
        if (event === "join") {
          socket.join("r2");
        } else if (event === "leave") {
          socket.leave("r2");
        }
      });
      for (let i = 0; i < 20; i++) {
        servers.io(0).to("r2").emit("too early");
        servers.io(0).to("r1").emit("join");
        servers.io(0).to("r2").emit("in between", i);
        servers.io(0).to("r1").emit("leave");
        servers.io(0).to("r2").emit("too late");
      }
      await servers.settle();
      return servers.events(client);
    },
  },
  "disconnecting the clients of a room on all nodes": {
    nodes: 2,
    run: async (servers) => {
      const clients = [];
      for (const node of [0, 1, 1]) {
        clients.push(await servers.connect(node));
      }
      servers.socketOf(clients[0]).join("a");
      servers.socketOf(clients[1]).join("a");
      const reasons = clients
        .slice(0, 2)
        .flatMap((client) => [
          once(/** @type {any} */ (client.socket), "disconnect"),
          once(servers.socketOf(client), "disconnect"),
        ]);
      servers.io(0).in("a").disconnectSockets();
      const seen = (await Promise.all(reasons)).map(([reason]) => reason);
      await servers.settle();
      return { seen, connected: clients.map(({ socket }) => socket.connected) };
    },
  },
  "closing the connections of all clients": {
    nodes: 2,
    run: async (servers) => {
      const clients = [await servers.connect(0), await servers.connect(1)];
      const reasons = clients.flatMap((client) => [
        once(/** @type {any} */ (client.socket), "disconnect"),
        once(servers.socketOf(client), "disconnect"),
      ]);
      servers.io(0).disconnectSockets(true);
      return (await Promise.all(reasons)).map(([reason]) => reason);
    },
  },
  "what a disconnect handler emits": {
    run: async (servers) => {
      const clients = [await servers.connect(), await servers.connect()];
      const socket = servers.socketOf(clients[0]);
      socket.on("disconnecting", () => socket.broadcast.emit("going", [...socket.rooms].length));
      socket.on("disconnect", () => servers.io().emit("gone", socket.rooms.size));
      servers.io().in(socket.id).disconnectSockets();
      await clients[1].receives("gone");
      return clients.map((client) => servers.events(client));
    },
  },
};

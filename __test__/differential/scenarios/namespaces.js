// Namespaces, and the end of a server.

"use strict";

const { once, waitFor } = require("../../helpers/wait");

/** @type {Record<string, import("../differential.test").Scenario>} */
module.exports = {
  "namespaces of their own, and of a regular expression": {
    nodes: 2,
    run: async (servers) => {
      for (const io of servers.all) {
        io.of("/static");
        io.of(/^\/dynamic-\d$/);
      }
      const clients = [];
      for (const nsp of ["/", "/static", "/dynamic-1", "/dynamic-2"]) {
        for (const node of [0, 1]) {
          clients.push(await servers.connect(node, { nsp }));
        }
      }
      servers.io(0).emit("to the main one");
      servers.io(0).of("/static").emit("to the static one", 1);
      servers.io(0).of("/dynamic-1").emit("to the first child", Buffer.from("x"));
      servers.io(1).of("/dynamic-2").to("nobody").emit("to nobody");
      await servers.settle();
      return clients.map((client) => servers.events(client));
    },
  },
  "an emit to all children of a parent": {
    run: async (servers) => {
      const parent = servers.io().of(/^\/child-\d$/);
      const clients = [];
      for (const nsp of ["/child-1", "/child-2"]) {
        clients.push(await servers.connect(0, { nsp }));
      }
      parent.emit("to all", { x: 1 });
      parent.to("nobody").emit("to nobody");
      await servers.settle();
      return clients.map((client) => servers.events(client));
    },
  },
  "a namespace that does not exist": {
    run: async (servers) => {
      const client = servers.client(0, { nsp: "/nowhere" });
      return client.connected().catch(({ message }) => message);
    },
  },
  "several namespaces on one connection": {
    run: async (servers) => {
      const io = servers.io();
      const client = await servers.connect();
      io.of("/other").on("connection", (socket) => {
        socket.join("a");
        io.emit("somebody is in /other");
        socket.emit("welcome");
      });
      const other = client.socket.io.socket("/other");
      const welcome = once(other, "welcome");
      other.connect();
      await welcome;
      await servers.settle();
      const gone = once(other, "disconnect");
      io.of("/other").in("a").disconnectSockets();
      return {
        got: servers.events(client),
        reason: await gone,
        connected: client.socket.connected,
      };
    },
  },
  "handlers that throw": {
    run: async (servers) => {
      const client = await servers.connect();
      const socket = servers.socketOf(client);
      const warnings = process.listeners("warning");
      process.removeAllListeners("warning");
      socket.onAnyOutgoing((/** @type {string} */ event) => {
        if (event === "throws") {
          throw new Error("a listener has thrown");
        }
      });
      let thrown = "nothing";
      try {
        servers.io().emit("throws");
      } catch (error) {
        thrown = /** @type {Error} */ (error).message;
      }
      servers.io().emit("next");
      await servers.settle();
      warnings.forEach((listener) => process.on("warning", listener));
      return { thrown, got: servers.events(client) };
    },
    races: { upstream: "it becomes an unhandled rejection, which ends the process" },
    differs: { memory: "emit() throws it, and clients behind do not get the packet" },
  },
  "the end of a server": {
    nodes: 2,
    run: async (servers) => {
      const clients = [await servers.connect(0), await servers.connect(1)];
      const socket = servers.socketOf(clients[0]);
      /** @type {any[]} */
      const seen = [];
      socket.on("disconnecting", (/** @type {string} */ reason) =>
        seen.push(["disconnecting", reason]),
      );
      socket.on("disconnect", (/** @type {string} */ reason) => {
        seen.push(["disconnect", reason, socket.rooms.size, socket.connected]);
      });
      clients[0].socket.on("disconnect", (reason) => seen.push(["the client", reason]));
      await new Promise((resolve) => servers.io(0).close(resolve));
      await waitFor(() => !clients[0].socket.connected);
      servers.io(0).emit("too late");
      return seen;
    },
  },
};

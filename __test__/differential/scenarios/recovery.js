// Connection state recovery, as clients and handlers see it.

"use strict";

const { settle: pause, waitFor } = require("../../helpers/wait");

/** @typedef {import("../servers").Servers} Servers */
/** @typedef {import("../../helpers/socket-client").SocketClient} SocketClient */

const options = { connectionStateRecovery: {} };

/** Notes in the client's record when it connects. @param {SocketClient} client */
function noteConnects(client) {
  client.socket.on("connect", () => client.record.push(["connect", client.socket.recovered]));
}

/** Cuts a client, and waits until its server and its session know. @param {Servers} servers @param {SocketClient} client */
async function cut(servers, client) {
  client.cut();
  await waitFor(() => servers.socketOf(client) === undefined, { what: "the server to notice" });
  // The session is on its way to Redis.
  await pause(100);
}

/** @type {Record<string, import("../differential.test").Scenario>} */
module.exports = {
  "what a client misses": {
    options,
    run: async (servers) => {
      const [client, other] = [await servers.connect(), await servers.connect()];
      noteConnects(client);
      const io = servers.io();
      servers.socketOf(client).join(["a", "b"]);
      servers.socketOf(client).data.name = "x";
      io.on("connection", (socket) => {
        socket.emit("hello", socket.recovered, socket.data, [...socket.rooms].length);
      });
      await cut(servers, client);
      io.emit("to all", 1);
      io.to("a").emit("to a", { at: new Date(0) });
      io.to(["a", "b"]).emit("once");
      io.to("b").emit("binary", Buffer.from("x"), { deep: [Buffer.from("y")] });
      io.to("c").emit("not for it");
      io.except("a").emit("not for it");
      io.to(client.id).emit("direct");
      io.volatile.emit("volatile");
      io.timeout(100).emit("with ack", () => {});
      await servers.settle(other);
      await client.reconnect();
      await servers.settle(client);
      return servers.events(client);
    },
    differs: { upstream: "volatile packets are kept" },
  },
  "what a client misses when encode() is replaced": {
    options,
    run: async (servers) => {
      const [client, other] = [await servers.connect(), await servers.connect()];
      const { encoder } = /** @type {any} */ (servers.io());
      const encode = encoder.encode.bind(encoder);
      encoder.encode = (/** @type {any} */ packet) =>
        encode(packet.data?.[0] === "missed" ? { ...packet, data: ["by us"] } : packet);
      await cut(servers, client);
      servers.io().emit("missed", 1);
      await servers.settle(other);
      await client.reconnect();
      await servers.settle(client);
      return { recovered: client.socket.recovered, got: servers.events(client) };
    },
  },
  "what a client misses, without what is volatile": {
    options,
    run: async (servers) => {
      const [client, other] = [await servers.connect(), await servers.connect()];
      noteConnects(client);
      const io = servers.io();
      servers.socketOf(client).join("a");
      await cut(servers, client);
      for (let i = 0; i < 50; i++) {
        io.emit("to all", i);
        io.to("a").emit("to a", i);
      }
      await servers.settle(other);
      await client.reconnect();
      io.to("a").emit("live");
      await servers.settle(client);
      return { recovered: client.socket.recovered, got: servers.events(client) };
    },
  },
  "middlewares that refuse a recovered client": {
    options: { connectionStateRecovery: { skipMiddlewares: false } },
    run: async (servers) => {
      const [client, other] = [await servers.connect(), await servers.connect()];
      noteConnects(client);
      await cut(servers, client);
      servers.io().emit("missed");
      await servers.settle(other);
      let refuses = true;
      servers.io().use((socket, next) => next(refuses ? new Error("not now") : undefined));
      const error = await client.reconnect().catch(({ message }) => message);
      refuses = false;
      await client.reconnect();
      await servers.settle(client);
      return { error, got: servers.events(client) };
    },
    differs: {
      memory: "the client gets twice what it missed",
      upstream:
        "the session is used up, and the client gets what was missed although it starts anew",
    },
  },
  "middlewares that are skipped or not": {
    options: { connectionStateRecovery: { skipMiddlewares: true } },
    run: async (servers) => {
      const client = await servers.connect();
      let runs = 0;
      servers.io().use((socket, next) => {
        runs++;
        next();
      });
      await cut(servers, client);
      await client.reconnect();
      return { runs, recovered: client.socket.recovered };
    },
  },
  "a client that comes back to another node": {
    options,
    nodes: 2,
    run: async (servers) => {
      const [client, other] = [await servers.connect(0), await servers.connect(1)];
      noteConnects(client);
      servers.socketOf(client).join("a");
      await cut(servers, client);
      servers.io(0).to("a").emit("from 0");
      await servers.settle(other);
      servers.io(1).to("a").emit("from 1");
      await servers.settle(other);
      const recovered = new Promise((resolve) =>
        servers
          .io(1)
          .on("connection", (socket) => resolve([socket.recovered, socket.rooms.has("a")])),
      );
      await client.reconnect(servers.url(1));
      return { recovered: await recovered, got: servers.events(client) };
    },
  },
  "a client that leaves by itself": {
    options,
    run: async (servers) => {
      const client = await servers.connect();
      const { id } = client;
      client.disconnect();
      await waitFor(() => servers.socketOf(client) === undefined);
      await client.reconnect();
      return { recovered: client.socket.recovered, isSame: client.id === id };
    },
  },
  "a client with a session that nobody knows": {
    options,
    run: async (servers) => {
      const client = servers.client(0, { auth: { pid: "x".repeat(20), offset: "1-0" } });
      await client.connected();
      await servers.settle(client);
      return { recovered: client.socket.recovered, got: servers.events(client) };
    },
  },
};

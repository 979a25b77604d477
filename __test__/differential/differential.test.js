// One script of scenarios on socket.io's adapter in memory, on upstream's and on ours: what clients
// and listeners see is the same. A scenario gives what it saw as JSON; docs/upgrading.md has the
// differences that are meant.

"use strict";

const assert = require("node:assert/strict");
const { createServer } = require("node:http");
const { once } = require("node:events");
const { after, describe, test } = require("node:test");
const { Server } = require("socket.io");
const { createRedisClient } = require("../helpers/clients");
const { useRedis } = require("../helpers/cluster");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");

const context = useRedis();

/** @typedef {{ io: Server, client: import("../helpers/socket-client").SocketClient, socket: any }} Env */

/** @type {Record<string, (env: Env) => Promise<unknown>>} */
const SCENARIOS = {
  "rooms and their events": async ({ io, socket }) => {
    const { adapter } = io.sockets;
    /** @type {any[]} */
    const seen = [];
    for (const event of ["create-room", "join-room", "leave-room", "delete-room"]) {
      adapter.on(event, (room) => seen.push([event, room]));
    }
    socket.join("a");
    socket.join("a");
    io.in(socket.id).socketsJoin(["b", "c"]);
    await waitFor(() => socket.rooms.has("c"));
    io.in("b").socketsLeave("a");
    await waitFor(() => !socket.rooms.has("a"));
    return seen;
  },
  "what outgoing listeners and clients get": async ({ io, client, socket }) => {
    /** @type {any[]} */
    const heard = [];
    socket.onAnyOutgoing((/** @type {any[]} */ ...args) =>
      heard.push(args.map((arg) => Object.prototype.toString.call(arg))),
    );
    io.emit("values", new Date(0), { u: undefined }, NaN, [null], Buffer.from("x"));
    io.to("nobody").emit("not for it");
    io.except(socket.id).emit("not for it");
    io.emit("last");
    await client.receives("last");
    return { heard, got: client.record };
  },
  acknowledgements: async ({ io, client }) => {
    client.socket.on("ask", (value, answer) => answer([value, "answer"]));
    return io.timeout(2_000).emitWithAck("ask", { x: [1] });
  },
  disconnecting: async ({ io, client, socket }) => {
    const theirSocket = /** @type {any} */ (client.socket);
    const reasons = [once(theirSocket, "disconnect"), once(socket, "disconnect")];
    io.disconnectSockets();
    const [[theirs], [ours]] = await Promise.all(reasons);
    return { theirs, ours };
  },
};

/** @type {Record<string, () => Promise<{ adapter: any, end: () => unknown }>>} */
const ADAPTERS = {
  memory: async () => ({ adapter: undefined, end: () => {} }),
  upstream: async () => {
    const { adapterArgument, close } = await createRedisClient(context.redis, { kind: "upstream" });
    const { createAdapter } = require("@socket.io/redis-streams-adapter");
    const options = { streamName: "upstream", blockTimeInMs: 200 };
    return { adapter: createAdapter(adapterArgument, options), end: close };
  },
  native: async () => {
    const { createAdapter } = require("../../index");
    return { adapter: createAdapter(context.redis.url), end: () => {} };
  },
};

/** What was seen, by adapter and scenario. @type {Record<string, Record<string, string>>} */
const seen = {};

for (const kind of Object.keys(ADAPTERS)) {
  describe(kind, () => {
    for (const [name, scenario] of Object.entries(SCENARIOS)) {
      test(name, async () => {
        const { adapter, end } = await ADAPTERS[kind]();
        const http = createServer();
        const io = new Server(http, adapter === undefined ? {} : { adapter });
        http.listen(0, "127.0.0.1");
        await once(http, "listening");
        const { port } = /** @type {import("node:net").AddressInfo} */ (http.address());
        const client = await connectClient(`http://127.0.0.1:${port}`);
        try {
          const socket = io.sockets.sockets.get(client.id);
          io.emit("ready");
          await client.receives("ready");
          client.record.length = 0;
          const result = await scenario({ io, client, socket });
          seen[kind] = {
            ...seen[kind],
            [name]: JSON.stringify(result).replaceAll(client.id, "ID"),
          };
        } finally {
          client.disconnect();
          await io.close();
          await end();
        }
        assert.equal(seen[kind][name], seen.memory[name]);
      });
    }
  });
}

after(() => assert.deepEqual(Object.keys(seen), Object.keys(ADAPTERS)));

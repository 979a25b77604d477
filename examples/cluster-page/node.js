"use strict";
// One node of the cluster of `npm start`: a Socket.IO server with the adapter, and what the page
// shows of it. It is started by ./supervisor, which tells it over the IPC channel who the others are.

const { once } = require("node:events");
const { createServer } = require("node:http");

const { Server } = require("socket.io");

const { createAdapter } = require("../.."); // in your project: "socket.io-redis-streams-native"
const { openChat } = require("./chat");
const { PacketSource } = require("./packet-source");
const { startSampling } = require("./sampler");
const { Site } = require("./site");
const { Uplink } = require("./uplink");

const HOST = "127.0.0.1"; // pages may kill nodes: nobody but this machine gets to see them
/** Every tab gets some 30 packets per second: this is most of an hour, and a few bursts. */
const MAX_LEN = 100_000;
/** Names of our own in Redis, which may be one that serves something else. */
const NAMES = {
  streamName: "cluster-page",
  channelPrefix: "cluster-page",
  sessionKeyPrefix: "cluster-page:session:",
};
/** For how long a session can be recovered (ms). */
const RECOVERABLE = 2 * 60_000;

const {
  NODE_NAME: name = "node",
  PORT: wantedPort = "0",
  REDIS_URL: redisUrl = "redis://localhost:6379",
  REDIS_CLIENT_NAME: clientName = name,
} = process.env;

const uplink = new Uplink();
const site = new Site(uplink);
const httpServer = createServer((request, response) => site.serve(request, response));

const io = new Server(httpServer, {
  adapter: createAdapter({ url: redisUrl, clientName }, { ...NAMES, maxLen: MAX_LEN }),
  allowRequest: (request, decide) => decide(null, site.isOurs(request)),
  connectionStateRecovery: { maxDisconnectionDuration: RECOVERABLE },
});

openChat(io, name);
const source = new PacketSource(io, name);
startSampling(io, name);

io.on("connection", (socket) => {
  // Not by socket.emit(), which goes through the stream, and waits while Redis is away.
  io.local.to(socket.id).emit("cluster", uplink.cluster);
  socket.on("command", async (command, reply) => {
    if (typeof reply === "function") {
      reply(await uplink.command(command));
    }
  });
});

// What the supervisor knows reaches the tabs of each node on its own way, also without Redis.
uplink.on("cluster", (cluster) => io.local.emit("cluster", cluster));
uplink.on("burst", (count) => source.burst(count));
uplink.on("block", (ms) => {
  const end = Date.now() + ms;
  while (Date.now() < end); // as a heavy computation, or a JSON.parse of something huge, would
  uplink.send({ type: "unblocked" });
});

/** @param {number} port */
async function listen(port) {
  httpServer.listen(port, HOST);
  await once(httpServer, "listening");
}

async function start() {
  try {
    await listen(Number(wantedPort));
  } catch (error) {
    const isTaken = /** @type {NodeJS.ErrnoException} */ (error).code === "EADDRINUSE";
    if (!isTaken || process.env.PORT_IS_FIXED) {
      throw error;
    }
    await listen(0);
  }
  const { port } = /** @type {import("node:net").AddressInfo} */ (httpServer.address());
  uplink.send({ type: "listening", port });
  source.start();
}

let closing = false;

/** Nothing keeps the process alive after this, so it ends by itself. */
function close() {
  if (closing) {
    return;
  }
  closing = true;
  source.stop();
  io.close();
  uplink.close();
}

// Ctrl-C in a terminal reaches this process as well.
process.once("SIGINT", close);
process.once("SIGTERM", close);
process.once("disconnect", close); // `npm start` is closing, or was killed
start();

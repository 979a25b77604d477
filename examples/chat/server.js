"use strict";
// One node of a chat. Start several on the same Redis and they act as one server:
//
//     REDIS_URL=redis://localhost:6379 PORT=3000 node examples/chat/server.js
//
// `npm start` starts three of them.

const { once } = require("node:events");
const { readFileSync } = require("node:fs");
const { createServer } = require("node:http");
const { join } = require("node:path");

const { Server } = require("socket.io");

const { createAdapter } = require("../.."); // in your project: "socket.io-redis-streams-native"

const {
  NODE_NAME: node = `node-${process.pid}`,
  HOST: host = "127.0.0.1",
  PORT: wantedPort = "3000",
  REDIS_URL: redisUrl = "redis://localhost:6379",
} = process.env;

const page = readFileSync(join(__dirname, "public", "index.html"));

const httpServer = createServer((request, response) => {
  if (request.url?.split("?")[0] !== "/") {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" }).end(page);
});

const io = new Server(httpServer, {
  adapter: createAdapter(redisUrl),
  // A page that was cut off for less than this gets what it missed, from whichever node it finds.
  connectionStateRecovery: { maxDisconnectionDuration: 2 * 60_000 },
});

/**
 * @param {unknown} text
 * @param {number} maxLength
 * @returns {string} trimmed and cut; empty when it is no text at all
 */
function clean(text, maxLength) {
  return typeof text === "string" ? text.trim().slice(0, maxLength) : "";
}

/** Everybody in the chat, on whichever node. */
async function everybody() {
  const sockets = await io.fetchSockets();
  return sockets.map(({ id, data }) => ({ id, name: data.name, node: data.node }));
}

io.on("connection", (socket) => {
  // After a recovery the data is what it was, but the node may be another.
  socket.data.name ??= clean(socket.handshake.auth.name, 30) || "Guest";
  socket.data.node = node;
  socket.emit("welcome", { node });
  io.emit("presence", { name: socket.data.name, action: socket.recovered ? "is back" : "joined" });

  socket.on("message", (text) => {
    const cleaned = clean(text, 2_000);
    if (cleaned) {
      io.emit("message", {
        from: socket.id,
        name: socket.data.name,
        node,
        text: cleaned,
        time: Date.now(),
      });
    }
  });

  socket.on("name", (name) => {
    const before = socket.data.name;
    socket.data.name = clean(name, 30) || before;
    if (socket.data.name !== before) {
      io.emit("presence", { name: before, action: `is now ${socket.data.name}` });
    }
  });

  socket.on("everybody", async (reply) => {
    if (typeof reply !== "function") {
      return;
    }
    try {
      reply(await everybody());
    } catch (error) {
      // A node did not answer in time. The page asks again.
      console.error(`${node}: ${/** @type {Error} */ (error).message}`);
    }
  });

  socket.on("disconnect", () => {
    io.emit("presence", { name: socket.data.name, action: "left" });
  });
});

/** @param {number} port */
async function listen(port) {
  httpServer.listen(port, host);
  await once(httpServer, "listening");
}

async function start() {
  try {
    await listen(Number(wantedPort));
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== "EADDRINUSE") {
      throw error;
    }
    await listen(0);
  }
  const { port } = /** @type {import("node:net").AddressInfo} */ (httpServer.address());
  const address = `http://${host}:${port}`;
  if (process.send) {
    process.send(address);
  } else {
    console.log(`${node}: ${address}`);
  }
}

let closing = false;

/** Nothing keeps the process alive after this, so it ends by itself. */
function close() {
  if (closing) {
    return;
  }
  closing = true;
  io.close();
  if (process.connected) {
    process.disconnect();
  }
}

process.once("SIGINT", close);
process.once("SIGTERM", close);
process.once("disconnect", close); // `npm start` is closing, or was killed
start();

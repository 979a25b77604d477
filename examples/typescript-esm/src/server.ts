// Socket.IO with typed events on several nodes over one Redis.

import { createServer } from "node:http";
import { Server } from "socket.io";
import {
  createAdapter,
  type RedisStreamsAdapter,
  type RedisStreamsAdapterOptions,
} from "socket.io-redis-streams-native";
import type {
  ClientToServerEvents,
  InterServerEvents,
  ServerToClientEvents,
  SocketData,
} from "./events.js";

const { HOST = "127.0.0.1", PORT = "3000", REDIS_URL = "redis://localhost:6379" } = process.env;

const options: RedisStreamsAdapterOptions = {
  streamName: "chat",
  channelPrefix: "chat",
  maxLen: 50_000,
};

const httpServer = createServer(async (request, response) => {
  if (request.url !== "/stats") {
    response.writeHead(404).end();
    return;
  }
  // The namespace's adapter is of the type that was given to the server.
  const adapter = io.of("/").adapter as RedisStreamsAdapter;
  try {
    const others = await io.serverSideEmitWithAck("ping");
    const stats = { nodes: [process.pid, ...others], ...adapter.stats() };
    response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(stats));
  } catch (error) {
    // Redis or a node is away. Nobody else catches this, so it would end the process.
    response.writeHead(503).end((error as Error).message);
  }
});

const io = new Server<ClientToServerEvents, ServerToClientEvents, InterServerEvents, SocketData>(
  httpServer,
  { adapter: createAdapter(REDIS_URL, options), connectionStateRecovery: {} },
);

io.on("ping", (answer) => answer(process.pid));

io.on("connection", (socket) => {
  socket.data.name ??= String(socket.handshake.auth.name);

  socket.on("join", async (room, joined) => {
    await socket.join(room);
    // Types are a promise of ours: a client may send anything, or no callback at all.
    if (typeof joined === "function") {
      joined();
    }
  });

  socket.on("message", (room, text) => {
    io.to(room).emit("message", { text, from: socket.data.name });
  });
});

httpServer.listen(Number(PORT), HOST, () => console.log(`http://${HOST}:${PORT}`));

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void io.close());
}

// Fastify and Socket.IO on one port, several nodes over one Redis.

import Fastify from "fastify";
import { Server } from "socket.io";
import { createAdapter } from "socket.io-redis-streams-native";

const { HOST = "127.0.0.1", PORT = "3000", REDIS_URL = "redis://localhost:6379" } = process.env;

const fastify = Fastify({ logger: true });
const io = new Server(fastify.server, {
  adapter: createAdapter(REDIS_URL),
  connectionStateRecovery: {},
});

io.on("connection", (socket) => {
  socket.on("message", (text) => io.emit("message", text));
});

// A route that reaches the clients of all nodes.
fastify.post("/messages", async (request, reply) => {
  io.emit("message", request.body.text);
  reply.code(202);
});

fastify.get("/sockets", async () => {
  const sockets = await io.fetchSockets();
  return sockets.map(({ id }) => id);
});

// Not onClose: that comes when the HTTP server has closed, which waits for the WebSockets.
fastify.addHook("preClose", () => io.close());

await fastify.listen({ host: HOST, port: Number(PORT) });

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => fastify.close());
}

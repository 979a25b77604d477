// A node with what is installed as @socket.io/redis-streams-adapter.

import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const { HOST = "127.0.0.1", PORT = "3000", REDIS_URL = "redis://localhost:6379" } = process.env;

const redisClient = createClient({ url: REDIS_URL });
redisClient.on("error", console.error);
await redisClient.connect();

const httpServer = createServer();
const io = new Server(httpServer, {
  adapter: createAdapter(redisClient),
  connectionStateRecovery: {},
});

io.on("connection", (socket) => {
  socket.on("message", (text) => io.emit("message", text));
});

httpServer.listen(Number(PORT), HOST, () => console.log(`http://${HOST}:${PORT}`));

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    await io.close();
    await redisClient.close();
  });
}

// A node that the Socket.IO Admin UI can look into, together with all others.

import { createServer } from "node:http";
import { hostname } from "node:os";
import { instrument, RedisStore } from "@socket.io/admin-ui";
import bcrypt from "bcryptjs";
import { Redis } from "ioredis";
import { Server } from "socket.io";
import { createAdapter } from "socket.io-redis-streams-native";

const { HOST = "127.0.0.1", PORT = "3001", REDIS_URL = "redis://localhost:6379" } = process.env;
const { ADMIN_PASSWORD } = process.env;
if (!ADMIN_PASSWORD) {
  throw new Error("Set ADMIN_PASSWORD: the Admin UI can disconnect clients");
}

const redis = new Redis(REDIS_URL);
redis.on("error", console.error);

const httpServer = createServer();
const io = new Server(httpServer, {
  // The adapter takes the settings of the client, and opens connections of its own.
  adapter: createAdapter(redis),
  connectionStateRecovery: {},
  cors: { origin: ["https://admin.socket.io"], credentials: true },
});

instrument(io, {
  auth: { type: "basic", username: "admin", password: bcrypt.hashSync(ADMIN_PASSWORD) },
  // Who has logged in on one node is known to the others. This store takes a client of ioredis.
  store: new RedisStore(redis),
  // Or nodes of one machine would count as one.
  serverId: `${hostname()}:${PORT}`,
  // All of it: sockets, rooms and events. "production" sends the servers' statistics only.
  mode: "development",
});

io.on("connection", (socket) => {
  socket.on("join", (room) => socket.join(room));
  socket.on("message", (text) => io.emit("message", text));
});

httpServer.listen(Number(PORT), HOST, () => console.log(`http://${HOST}:${PORT}`));

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    await io.close();
    await redis.quit();
  });
}

// A node with @socket.io/redis-adapter.

import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const { HOST = "127.0.0.1", PORT = "3000", REDIS_URL = "redis://localhost:6379" } = process.env;

const pubClient = createClient({ url: REDIS_URL });
const subClient = pubClient.duplicate();
pubClient.on("error", console.error);
subClient.on("error", console.error);
await Promise.all([pubClient.connect(), subClient.connect()]);

const httpServer = createServer();
const io = new Server(httpServer, {
  adapter: createAdapter(pubClient, subClient, { key: "chat", requestsTimeout: 3_000 }),
});

/** A client decides what it sends: where a callback is expected, anything may come. */
const callback = (value) => (typeof value === "function" ? value : () => {});

io.on("connection", (socket) => {
  socket.on("join", async (room, joined) => {
    await socket.join(room);
    callback(joined)();
  });
  socket.on("message", (room, text) => io.to(room).emit("message", text));
  socket.on("members", async (room, answer) => {
    try {
      const sockets = await io.in(room).fetchSockets();
      callback(answer)({ members: sockets.map(({ id }) => id) });
    } catch (error) {
      // Redis or a node is away. Nobody else catches this, so it would end the process.
      callback(answer)({ error: error.message });
    }
  });
});

httpServer.listen(Number(PORT), HOST, () => console.log(`http://${HOST}:${PORT}`));

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    await io.close();
    await Promise.all([pubClient.close(), subClient.close()]);
  });
}

// The same node with socket.io-redis-streams-native.

import { createServer } from "node:http";
import { createClient } from "redis";
import { Server } from "socket.io";
import { createAdapter } from "socket.io-redis-streams-native";

const { HOST = "127.0.0.1", PORT = "3000", REDIS_URL = "redis://localhost:6379" } = process.env;

// Neither connected nor duplicated: the adapter opens connections of its own with its settings.
const redisClient = createClient({ url: REDIS_URL });

const httpServer = createServer();
const io = new Server(httpServer, {
  // Not the old `key` as channelPrefix: nodes of the old adapter would hear what they cannot read.
  adapter: createAdapter(redisClient, { streamName: "chat", channelPrefix: "chat-streams" }),
  connectionStateRecovery: {}, // new: PUB/SUB cannot do it
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
  process.once(signal, () => io.close());
}

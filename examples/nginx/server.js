// One of several nodes behind nginx (socket.io.conf).

import { createServer } from "node:http";
import { Server } from "socket.io";
import { createAdapter } from "socket.io-redis-streams-native";

const { HOST = "127.0.0.1", PORT = "3001", REDIS_URL = "redis://localhost:6379" } = process.env;

const httpServer = createServer();
const io = new Server(httpServer, {
  adapter: createAdapter(REDIS_URL),
  // A client that nginx brings to another node gets there what it missed.
  connectionStateRecovery: {},
});

io.on("connection", (socket) => {
  socket.emit("welcome", { port: PORT, recovered: socket.recovered });
  socket.on("message", (text) => io.emit("message", { text, port: PORT }));
});

httpServer.listen(Number(PORT), HOST, () => console.log(`http://${HOST}:${PORT}`));

// An orderly end hands the clients' sessions to the other nodes.
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => io.close());
}

// Several workers behind one port. @socket.io/sticky brings each request to the worker that knows
// its session, the adapter brings each packet to all workers, on this machine and others.

import cluster from "node:cluster";
import { createServer } from "node:http";
import { availableParallelism } from "node:os";
import { setupPrimary, setupWorker } from "@socket.io/sticky";
import { Server } from "socket.io";
import { createAdapter } from "socket.io-redis-streams-native";

const { HOST = "127.0.0.1", PORT = "3000", REDIS_URL = "redis://localhost:6379" } = process.env;
const WORKERS = Number(process.env.WORKERS ?? availableParallelism());

if (cluster.isPrimary) {
  primary();
} else {
  worker();
}

function primary() {
  // Requests travel to the workers as buffers.
  cluster.setupPrimary({ serialization: "advanced" });
  const httpServer = createServer();
  setupPrimary(httpServer, { loadBalancingMethod: "least-connection" });

  // sticky sends a client to the worker with the fewest. What it sends to one that is still starting
  // gets lost, so that one has to look busy.
  const fork = () => {
    cluster.fork().clientsCount = Infinity;
  };
  let ready = 0;
  cluster.on("message", (worker, message) => {
    if (message.type === "ready") {
      worker.clientsCount = 0;
      if (++ready === WORKERS) {
        httpServer.listen(Number(PORT), HOST, () => console.log(`http://${HOST}:${PORT}`));
      }
    }
  });

  let closing = false;
  cluster.on("exit", (worker) => {
    if (!closing) {
      console.error(`worker ${worker.process.pid} died`);
      fork();
    } else if (Object.values(cluster.workers).every((other) => other.isDead())) {
      // A connection that was for a worker that died may still be open here.
      process.exit();
    }
  });

  for (let i = 0; i < WORKERS; i++) {
    fork();
  }

  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, () => {
      closing = true;
      httpServer.close();
      Object.values(cluster.workers).forEach((worker) => worker.kill());
    });
  }
}

function worker() {
  const io = new Server(createServer(), {
    adapter: createAdapter(REDIS_URL),
    connectionStateRecovery: {},
  });
  setupWorker(io);

  io.on("connection", (socket) => {
    socket.emit("welcome", { pid: process.pid });
    socket.on("message", (text) => io.emit("message", { text, pid: process.pid }));
  });

  process.send({ type: "ready" });

  // From the primary. Ctrl-C reaches the workers as well, which leave it to the primary.
  process.on("SIGINT", () => {});
  process.once("SIGTERM", async () => {
    await io.close();
    cluster.worker.disconnect();
  });
}

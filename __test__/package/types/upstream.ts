// What users wrote for upstream. `npx tsc` compiles it against upstream itself; types.test.js
// against ours, installed under upstream's name.

import { Server } from "socket.io";
import { createClient, createCluster } from "redis";
import { Cluster, Redis } from "ioredis";
import { createAdapter, RedisStreamsAdapterOptions } from "@socket.io/redis-streams-adapter";
import * as everything from "@socket.io/redis-streams-adapter";

const options: RedisStreamsAdapterOptions = {
  streamName: "socket.io",
  streamCount: 2,
  channelPrefix: "socket.io",
  useShardedPubSub: true,
  maxLen: 10_000,
  readCount: 100,
  blockTimeInMs: 5_000,
  sessionKeyPrefix: "sio:session:",
  onlyPlaintext: false,
};

async function start(): Promise<Server> {
  const client = createClient({ url: "redis://localhost:6379" });
  await client.connect();
  const io = new Server(3000, {
    adapter: createAdapter(client),
    connectionStateRecovery: { maxDisconnectionDuration: 120_000, skipMiddlewares: true },
  });
  io.on("connection", (socket) => {
    void socket.join("room");
    io.to("room").except(socket.id).emit("joined", socket.recovered);
  });
  return io;
}

new Server({ adapter: createAdapter(createCluster({ rootNodes: [] }), options) });
new Server({ adapter: createAdapter(new Redis(), { ...options, heartbeatInterval: 1_000 }) });
new Server({ adapter: createAdapter(new Cluster([{ host: "localhost", port: 7000 }])) });

/** Made in one place, used in others. */
function makeAdapter(client: Redis, more: Partial<RedisStreamsAdapterOptions> = {}) {
  return everything.createAdapter(client, { ...options, ...more });
}
const io = new Server();
io.adapter(makeAdapter(new Redis()));
const made: ReturnType<typeof createAdapter> = makeAdapter(new Redis());
const counted: Promise<number> = made(io.of("/")).serverCount();

// Clients in types that tell less: upstream's parameter is `any`.
interface Store {
  get(key: string): Promise<string | null>;
  duplicate(): Store;
}
declare const unknown: unknown;
declare const anything: any;
declare const maybe: Redis | undefined;
declare const orNull: ReturnType<typeof createClient> | null;
declare const store: Store | undefined;
declare const either: Redis | Cluster | ReturnType<typeof createCluster>;
for (const adapter of [
  createAdapter(unknown),
  createAdapter(anything),
  createAdapter(maybe),
  createAdapter(orNull),
  createAdapter(store),
  createAdapter(either),
]) {
  io.adapter(adapter);
}

// Code that publishes through the adapter.
const published: Promise<string> = made(io.of("/")).doPublish({
  uid: "0123456789abcdef",
  nsp: "/",
  type: 4,
  data: { opts: { rooms: [], except: [], flags: {} }, rooms: ["room"] },
});

export { counted, published, start };

// The main entry: what it exports, and what must not compile. types.test.js compiles it, in each kind
// of resolution, against the packed package.

import { Server } from "socket.io";
import type { Namespace } from "socket.io";
import { ClusterAdapter } from "socket.io-adapter";
import { expectTypeOf } from "expect-type";
import { createClient, createCluster, createSentinel } from "redis";
import { Cluster, Redis } from "ioredis";
import { createAdapter, Emitter } from "socket.io-redis-streams-native";
import type {
  AdapterStats,
  ClusterSettings,
  ConnectionOptions,
  Credentials,
  CredentialsProvider,
  ErrorCode,
  Loss,
  NodeAddress,
  RedisStreamsAdapter,
  RedisStreamsAdapterOptions,
  SentinelSettings,
  SocketIORedisError,
  TlsSettings,
} from "socket.io-redis-streams-native";

declare const namespace: Namespace;

// Every client, a URL, and settings.
const cluster = { rootNodes: [{ url: "redis://localhost" }] };
const sentinel = { name: "mymaster", sentinelRootNodes: [{ host: "localhost", port: 26379 }] };
new Server({ adapter: createAdapter(createClient()) });
new Server({ adapter: createAdapter(createCluster(cluster)) });
new Server({ adapter: createAdapter(createSentinel(sentinel)) });
new Server({ adapter: createAdapter(new Redis()) });
new Server({ adapter: createAdapter(new Cluster([{ host: "localhost", port: 6379 }])) });
new Server({ adapter: createAdapter("redis://localhost") });
new Server({ adapter: createAdapter(new URL("redis://localhost")) });
new Server({ adapter: createAdapter({ host: "localhost", port: 6379 }) });
new Server().adapter(createAdapter("redis://localhost"));

// Nothing else.
// @ts-expect-error
createAdapter(42);
// @ts-expect-error
createAdapter({ hosst: "localhost" });
// @ts-expect-error: as for @socket.io/redis-adapter
createAdapter(createClient(), createClient());
// @ts-expect-error
createAdapter(() => {});
// @ts-expect-error
new Emitter(42);
// @ts-expect-error
new Emitter(null);

// Settings.
const tls: TlsSettings = { ca: ["pem"], key: Buffer.from("pem"), rejectUnauthorized: false };
const nodes: NodeAddress[] = [{ host: "localhost", port: 6379 }];
const clusterSettings: ClusterSettings = { nodes: ["redis://localhost", ...nodes] };
const sentinelSettings: SentinelSettings = { name: "mymaster", nodes };
const credentials = async (): Promise<Credentials> => ({ username: "me", password: "secret" });
const provider: CredentialsProvider = { type: "async-credentials-provider", credentials };
const settings: ConnectionOptions[] = [
  { url: "rediss://localhost", tls },
  { cluster: clusterSettings },
  { sentinel: sentinelSettings, database: 1 },
  { host: "localhost", credentials },
  { path: "/run/redis.sock", credentials: provider },
];
createAdapter(settings[0], { streamName: "chat", heartbeatInterval: 1_000 });
// @ts-expect-error
const noSetting: ConnectionOptions = { hosst: "localhost" };
// @ts-expect-error
const noAddresses: ClusterSettings = {};
// @ts-expect-error
const noFamily: ConnectionOptions = { family: 5 };
// @ts-expect-error
const noProvider: CredentialsProvider = { type: "another", credentials };

// Options.
expectTypeOf<RedisStreamsAdapterOptions["maxLen"]>().toEqualTypeOf<number | undefined>();
expectTypeOf<RedisStreamsAdapterOptions["requestsVia"]>().toEqualTypeOf<
  "pubsub" | "stream" | undefined
>();
expectTypeOf<RedisStreamsAdapterOptions>().toExtend<Parameters<typeof createAdapter>[1]>();
expectTypeOf(createAdapter).parameter(1).toBeNullable();
createAdapter("redis://localhost", { requestsVia: "stream", inboxBytes: 1_000_000 });
// @ts-expect-error
createAdapter();
// @ts-expect-error
createAdapter("redis://localhost", { maxLen: "many" });
// @ts-expect-error
createAdapter("redis://localhost", { maxlen: 1_000 });
// @ts-expect-error
createAdapter("redis://localhost", { requestsVia: "post" });

// The adapter.
const adapter = createAdapter("redis://localhost")(namespace);
expectTypeOf(adapter).toEqualTypeOf<RedisStreamsAdapter>();
expectTypeOf(adapter).toExtend<ClusterAdapter>();
expectTypeOf(adapter.stats()).toEqualTypeOf<AdapterStats>();
expectTypeOf(adapter.stats().lost).toEqualTypeOf<number>();
expectTypeOf(adapter.stats().position).toEqualTypeOf<string | undefined>();
expectTypeOf(adapter.close()).resolves.toBeVoid();
expectTypeOf(
  (new Server().of("/").adapter as RedisStreamsAdapter).stats,
).returns.toEqualTypeOf<AdapterStats>();
adapter.on("loss", (loss) => {
  expectTypeOf(loss).toEqualTypeOf<Loss>();
});
adapter.on("join-room", (room: string, id: string) => `${room} ${id}`);
try {
  createAdapter("redis://localhost");
} catch (error) {
  expectTypeOf((error as SocketIORedisError).code).toEqualTypeOf<ErrorCode>();
}
// @ts-expect-error
const noCode: ErrorCode = "ERR_SIO_REDIS_NONE";
adapter.on("loss", ({ reason, entries }: Loss) => {
  expectTypeOf(reason).toEqualTypeOf<"trimmed" | "deleted" | "fellBack" | "wrongType">();
  expectTypeOf(entries).toEqualTypeOf<number | undefined>();
});
expectTypeOf(adapter.allRooms()).resolves.toEqualTypeOf<Set<string>>();
expectTypeOf(
  adapter.countSockets({ rooms: new Set(["a"]), flags: { timeout: 100 } }),
).resolves.toBeNumber();
expectTypeOf(adapter.socketIds({ except: ["a"] })).resolves.toEqualTypeOf<Set<string>>();
// @ts-expect-error
adapter.countSockets({ rooms: "a", flags: { timeout: "soon" } });
// @ts-expect-error
adapter.stats().position.length;
// @ts-expect-error: a type, not a class
new RedisStreamsAdapter();

// Nothing but what package.json exports.
// @ts-expect-error
type Internal = typeof import("socket.io-redis-streams-native/lib/adapter");

export type { Internal };
export { noAddresses, noCode, noFamily, noProvider, noSetting };

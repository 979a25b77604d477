import type { ClusterAdapter, ClusterAdapterOptions, ClusterMessage } from "socket.io-adapter";

/** The options of `@socket.io/redis-streams-adapter`, with its names and defaults, and further ones. */
export interface RedisStreamsAdapterOptions {
  /**
   * The name of the Redis stream, or the prefix of the names if there are several: `<streamName>-<i>`.
   * @default "socket.io"
   * @example createAdapter(client, { streamName: "chat" })
   */
  streamName?: string;
  /**
   * The number of streams. Each namespace belongs to one of them. All nodes need the same number.
   * @default 1
   * @example createAdapter(client, { streamCount: 4 })
   */
  streamCount?: number;
  /**
   * The prefix of the PUB/SUB channels. Applications that share a Redis need different ones, even if
   * they use different databases.
   * @default "socket.io"
   * @example createAdapter(client, { channelPrefix: "chat" })
   */
  channelPrefix?: string;
  /**
   * Whether requests travel over sharded PUB/SUB (Redis 7.0 and newer).
   * @default false
   * @example createAdapter(client, { useShardedPubSub: true })
   */
  useShardedPubSub?: boolean;
  /**
   * The approximate number of entries to which Redis trims the stream (`MAXLEN ~`).
   * @default 10_000; 100_000 if entries are kept by age (see `maxAge`), and for an emitter
   * @example createAdapter(client, { maxLen: 100_000 })
   */
  maxLen?: number;
  /**
   * How long Redis keeps entries, in ms, as long as there are no more than `maxLen` (`MINID ~`, Redis 6.2
   * and newer). 0: it keeps them however old they are.
   * @default 0; with connection state recovery and without `maxLen`, what clients need that come back
   * within `maxDisconnectionDuration`, and no fewer than 10_000 entries
   * @example createAdapter(client, { maxAge: 300_000, maxLen: 200_000 })
   */
  maxAge?: number;
  /**
   * The largest number of entries per XREAD.
   * @default 100
   * @example createAdapter(client, { readCount: 500 })
   */
  readCount?: number;
  /**
   * How long one XREAD waits for entries, in ms. 0: without limit.
   * @default 5_000
   * @example createAdapter(client, { blockTimeInMs: 1_000 })
   */
  blockTimeInMs?: number;
  /**
   * The prefix of the keys that hold the sessions of connection state recovery.
   * @default "sio:session:"
   * @example createAdapter(client, { sessionKeyPrefix: "chat:session:" })
   */
  sessionKeyPrefix?: string;
  /**
   * Set it if no payload ever holds binary. The adapter then does not search payloads for binary.
   * @default false
   * @example createAdapter(client, { onlyPlaintext: true })
   */
  onlyPlaintext?: boolean;
  /**
   * Time between two heartbeats of this node, in ms.
   * @default 5_000
   * @example createAdapter(client, { heartbeatInterval: 1_000 })
   */
  heartbeatInterval?: number;
  /**
   * A node that sends nothing for this long is considered gone, in ms. Requests do not wait for it.
   * Must be greater than `heartbeatInterval`.
   * @default 10_000, or twice `heartbeatInterval` if that is more
   * @example createAdapter(client, { heartbeatTimeout: 4_000 })
   */
  heartbeatTimeout?: number;
  /**
   * The limit for what packets that wait to be published take in all, their callbacks and promises
   * included, in bytes, divided evenly among the streams. The same limit applies separately to
   * messages that wait for PUB/SUB, and to the sessions of clients that have gone while Redis is away.
   * Above it, packets go to local clients only, these clients start anew, and the adapter warns.
   * @default 67_108_864
   * @example createAdapter(client, { publishQueueBytes: 16 * 1024 * 1024 })
   */
  publishQueueBytes?: number;
  /**
   * The limit for what was read and waits for the event loop, in bytes. Above it, reading pauses.
   * @default 67_108_864
   * @example createAdapter(client, { inboxBytes: 16 * 1024 * 1024 })
   */
  inboxBytes?: number;
  /**
   * The limit for recent broadcasts kept in memory for connection state recovery, in bytes, divided
   * evenly among the streams. 0 keeps none. Older broadcasts are read from Redis.
   * @default 67_108_864
   * @example createAdapter(client, { historyBytes: 0 })
   */
  historyBytes?: number;
  /**
   * Whether the sessions of connected clients are kept in Redis while connection state recovery is on,
   * and not only those of clients that have gone. Then clients of a killed node are recovered, and
   * clients that are back before their node has noticed that they had gone. A session is written when
   * its client has connected, when its rooms change, and at intervals while its client sends something.
   * @default true
   * @example createAdapter(client, { liveSessions: false })
   */
  liveSessions?: boolean;
  /**
   * Whether the adapter tells when the client of a session has not come back within
   * `maxDisconnectionDuration`: with the event `sessionExpired` of the namespace's adapter, once in the
   * cluster, at one of the nodes with this option. Needs connection state recovery.
   * @default false
   * @example createAdapter(client, { expiredSessions: true })
   */
  expiredSessions?: boolean;
  /**
   * The limit for what waits for one client because it reads too slowly, in bytes: what each
   * packet takes while it waits. Above it, the adapter ends the connection ("transport error"). 0: no limit.
   * @default 0
   * @example createAdapter(client, { clientBufferBytes: 4 * 1024 * 1024 })
   */
  clientBufferBytes?: number;
  /**
   * Which servers the stream is read from: the master, or a replica of it. Then the master sends each
   * entry only to its replicas, and not to every node. With `"replica"`, the node picks one at random;
   * with `"nearest"`, one of those with the shortest round trips, or the master if that is clearly
   * nearer than all of them. If no replica is up to date, the node reads from the master. Everything
   * else goes to the master. A client with `scaleReads` ("slave" or "all"), `useReplicas` or
   * `replicaPoolSize` makes `"replica"` the default.
   * @default "master"
   * @example createAdapter(client, { readFrom: "nearest" })
   */
  readFrom?: "master" | "replica" | "nearest";
  /**
   * How requests, answers and heartbeats travel: over PUB/SUB, as in upstream 0.3, or in the
   * stream, as in upstream 0.1 and 0.2. All nodes need the same value.
   * @default "pubsub"
   * @example createAdapter(client, { requestsVia: "stream" })
   */
  requestsVia?: "pubsub" | "stream";
}

/** TLS settings. Certificates and keys are PEM. */
export interface TlsSettings {
  /** The trusted certificate authorities; by default those of Node.js. */
  ca?: string | Buffer | Array<string | Buffer>;
  /** The client certificate chain. */
  cert?: string | Buffer | Array<string | Buffer>;
  /** The client certificate's private key. */
  key?: string | Buffer;
  /** The key's passphrase. */
  passphrase?: string;
  /** The expected name in the server's certificate; by default the host. */
  servername?: string;
  /**
   * Whether the server's certificate is verified.
   * @default true
   */
  rejectUnauthorized?: boolean;
}

/** Settings of the connections to Redis, for users without a Redis client. */
export interface ConnectionOptions {
  /**
   * `redis://`, `rediss://`, `valkey://`, `valkeys://` or `unix://`. The other fields override its
   * parts.
   */
  url?: string | URL;
  /** @default "localhost" */
  host?: string;
  /** @default 6379 */
  port?: number;
  /** A unix socket, instead of host and port. */
  path?: string;
  username?: string;
  password?: string;
  /** The database number. */
  database?: number;
  /** The same as `database`. */
  db?: number;
  tls?: boolean | TlsSettings;
  /** The name that CLIENT LIST shows. */
  clientName?: string;
  /**
   * Time limit for making a connection, in ms.
   * @default 5_000
   */
  connectTimeout?: number;
  /** The prefix of stream and session keys. */
  keyPrefix?: string;
  /** A Redis Cluster in place of a server. The other settings apply to all its nodes. */
  cluster?: ClusterSettings;
  /** Sentinels in place of a server. The other settings apply to the master. */
  sentinel?: SentinelSettings;
  /** Use only addresses of this family. 0: IPv4 and IPv6. */
  family?: 0 | 4 | 6;
  /**
   * A function or provider that is asked at each connect. It overrides `username` and `password`. A
   * streaming provider also reports changes: open connections are then authenticated again.
   */
  credentials?: (() => Credentials | Promise<Credentials>) | CredentialsProvider;
}

/** The arguments of AUTH. */
export interface Credentials {
  username?: string;
  password?: string;
}

/** A credentials provider, as in node-redis 5 and 6. */
export type CredentialsProvider =
  | { type: "async-credentials-provider"; credentials(): Promise<Credentials> }
  | {
      type: "streaming-credentials-provider";
      /** Resolves with the current credentials. Calls the listener for later ones until `dispose()`. */
      subscribe(listener: {
        onNext(credentials: Credentials): void;
        onError(error: Error): void;
      }): Promise<[Credentials, { dispose(): void }]>;
    };

/** The address of a server. */
export interface NodeAddress {
  host?: string;
  port?: number | string;
}

/** A Redis Cluster. */
export interface ClusterSettings {
  /** URLs or addresses of some nodes. The adapter learns the others from them. */
  nodes: (string | URL | NodeAddress)[];
  /** By `"host:port"` as the nodes report it, the address that this machine can reach. */
  natMap?: Record<string, NodeAddress>;
}

/** Redis Sentinels. */
export interface SentinelSettings {
  /** The master's name. */
  name: string;
  /** URLs or addresses of the sentinels. The default port is 26379. */
  nodes: (string | URL | NodeAddress)[];
  /** The sentinels' user. */
  username?: string;
  /** The sentinels' password. */
  password?: string;
  /** TLS for the connections to the sentinels. */
  tls?: boolean | TlsSettings;
  /** By `"host:port"` as the sentinels report it, the address that this machine can reach. */
  natMap?: Record<string, NodeAddress>;
}

/** A histogram of durations. */
export interface Latency {
  /** The number of durations. */
  count: number;
  /** The sum of the durations, in ms. */
  sumMs: number;
  /** `[ms, count]`: the number of durations up to that many ms. The bounds are always the same. */
  buckets: [number, number][];
}

/** What this node has read. */
export interface ReadingStats {
  /** Entries read from all streams. */
  read: number;
  /** Entries and PUB/SUB messages handed to the event loop. */
  delivered: number;
  /** Entries that concern nobody here: other namespaces, heartbeats, answers to other nodes. */
  skipped: number;
  /** Entries, messages and sessions that could not be decoded. */
  malformed: number;
  /** Entries dropped as duplicates, because a node wrote them twice. */
  doubled: number;
  /** Entries known to be lost: trimmed before this node read them, or lost in a failover. */
  lost: number;
  /** Losses, as reported by the event `loss`, even if the number of entries is unknown. */
  losses: number;
  /** How often a stream was deleted, was replaced, or fell back (see `Loss`). */
  resets: number;
  /** The ID of the last entry read from this namespace's stream. Absent before the first read. */
  position?: string;
  /**
   * Whether this namespace's stream is read from the master or from a replica (see the option
   * `readFrom`). Absent while there is no connection to read from.
   */
  readFrom?: "master" | "replica";
  /** The address of that server: host and port, or a unix socket's path. */
  readFromAddress?: string;
  /**
   * Entries of the stream that this node has not read yet, without trimmed ones. The adapter asks Redis
   * once a second; in between, the number falls as the node reads. It is never too low. It is exact if
   * an earlier check found that the node had read everything, or nothing of what the stream holds.
   * Absent if Redis does not report it (before 7.0, or without permission for XINFO), unless the stream
   * is empty. Also absent if nothing is read. While Redis is unreachable, it does not change: see
   * `connected` and `silentMs`.
   */
  lagEntries?: number;
  /**
   * How much older the last entry that was read is than the last entry of the stream, by their IDs, in
   * ms. 0 if everything was read. Never more than the time since everything had been read, so that a
   * quiet night does not count as lag. Entries that wait for the event loop have been read: see
   * `inboxAgeMs`.
   */
  lagMs?: number;
  /** Entries in the stream at the last check. Absent without permission for XINFO. */
  streamLength?: number;
  /** Events that wait for the event loop. */
  inboxLength: number;
  /** The size of these events, in bytes. */
  inboxBytes: number;
  /** How long the oldest of them has been waiting, in ms: the next event is that late. */
  inboxAgeMs: number;
}

/** What this node has written. */
export interface WritingStats {
  /** Entries written and acknowledged by Redis, heartbeats included. */
  published: number;
  /** Publishes that failed. Their packets went to local clients only. */
  failed: number;
  /** Publishes sent again although the first attempt may have arrived. */
  doubtful: number;
  /**
   * Time from a publish to Redis's acknowledgement, for everything in `published`. It includes the
   * time in the queue, and outages.
   */
  publishLatency: Latency;
  /** Publishes to this namespace's stream that are neither written nor failed. */
  queueLength: number;
  /** What those take in all, in bytes. It counts for `publishQueueBytes`. */
  queueBytes: number;
}

/** Connection state recovery. */
export interface RecoveryStats {
  /** Sessions of connection state recovery that were restored. */
  restores: number;
  /** Sessions that clients asked for and did not get. Those clients start with a new session. */
  restoresRefused: number;
  /** Sessions saved for clients that disconnected. */
  sessionsSaved: number;
  /** Time from a client's request for its session to the answer, for everything in `restores`. */
  restoreLatency: Latency;
  /** Broadcasts of the stream kept in memory for connection state recovery. */
  historyLength: number;
  /** The size of these broadcasts, in bytes. */
  historyBytes: number;
}

/** The connections to Redis and to clients, and the other nodes. */
export interface ConnectionStats {
  /** The key of this namespace's stream. Several namespaces may share one. */
  stream: string;
  /** Whether all connections that this namespace needs are open, as far as is known. */
  connected: boolean;
  /**
   * Time since Redis last answered the stream's reader, in ms. If nothing is written, it rises to
   * `blockTimeInMs`, at most to 30 s. It rises further if Redis hangs or is unreachable, or if reading
   * pauses because of `inboxBytes`.
   */
  silentMs: number;
  /** Connections made again after one broke. */
  reconnects: number;
  /** Clients whose connections were ended because more than `clientBufferBytes` waited for them. */
  slowClients: number;
  /** PUB/SUB messages dropped because the event loop was too far behind, or during an outage. */
  dropped: number;
  /**
   * The number of living nodes with this adapter, in any namespace, this one included. With
   * `requestsVia: "stream"`, the number of nodes in this namespace, including upstream's.
   */
  members: number;
}

/**
 * Counters since the start of this node's engine, and its state. The engine starts with the first
 * namespace of a server. After all were closed, the next namespace starts a new engine.
 */
export interface AdapterStats extends ReadingStats, WritingStats, RecoveryStats, ConnectionStats {}

/** The fields of all messages on channels of `node:diagnostics_channel`. */
export interface DiagnosticsMessage {
  /** The Socket.IO server. Absent for an emitter. */
  server?: any;
  /** The node's uid, the same as `adapter.uid`. For an emitter, `"emitter"`. */
  uid: string;
}

/** On `socket.io-redis-streams:loss`: entries were lost. Published once per node and stream. */
export interface LossMessage extends DiagnosticsMessage, Loss {
  /** The open namespaces of the stream. */
  namespaces: string[];
}

/** On `socket.io-redis-streams:reconnect`: a connection that broke is open again. */
export interface ReconnectMessage extends DiagnosticsMessage {
  /** A stream's reader or writer, or the connection of requests, answers and heartbeats. */
  connection: "reader" | "writer" | "pubsub";
  /** The open namespaces that it serves. Empty for an emitter. */
  namespaces: string[];
  /** Time since the adapter noticed that it broke, in ms. */
  awayMs: number;
}

/** On `socket.io-redis-streams:member-join`: another node has joined, or is back. */
export interface MemberJoinMessage extends DiagnosticsMessage {
  /** The other node's uid. */
  member: string;
  /** With `requestsVia: "stream"`, the namespace that it joined. Otherwise absent: it joins all. */
  namespace?: string;
}

/** On `socket.io-redis-streams:member-leave`: another node is gone. */
export interface MemberLeaveMessage extends DiagnosticsMessage {
  /** The other node's uid. */
  member: string;
  /**
   * `left`: it was closed, and has announced that. `silent`: it sent nothing for `heartbeatTimeout`,
   * because it ended in another way, hangs, or is cut off.
   */
  reason: "left" | "silent";
  /** As in `MemberJoinMessage`. */
  namespace?: string;
}

/**
 * On `socket.io-redis-streams:slow-client`: more than `clientBufferBytes` wait for a client, and its
 * connection is about to be ended.
 */
export interface SlowClientMessage extends DiagnosticsMessage {
  /** The client's sockets. */
  sockets: { id: string; namespace: string }[];
  /** What waits for the client, in bytes. */
  bytes: number;
  /** The name of its Engine.IO transport. */
  transport: string;
}

/** On `socket.io-redis-streams:session-expired`: a client did not come back in time. */
export interface SessionExpiredMessage extends DiagnosticsMessage, ExpiredSession {
  namespace: string;
}

/** The argument of the adapter's event `sessionExpired`: what the client's socket had at the end. */
export interface ExpiredSession {
  sid: string;
  rooms: string[];
  data: any;
}

/** The argument of the adapter's event `loss`: entries of the namespace's stream were lost. */
export interface Loss {
  /**
   * `trimmed`: entries were trimmed before this node read them (see `maxLen`), or lost in a failover.
   * `deleted`: the stream was deleted, or replaced by another one.
   * `fellBack`: the stream's last entry is older than what this node has read: a replica without the
   * latest entries took over, or Redis's clock went back.
   * `wrongType`: the stream's key holds another type.
   */
  reason: "trimmed" | "deleted" | "fellBack" | "wrongType";
  /** The number of lost entries, if it is known. */
  entries?: number;
}

/** The stable `code` of an error or a warning of this package. docs/monitoring.md explains each. */
export type ErrorCode =
  | "ERR_SIO_REDIS_AUTH"
  | "ERR_SIO_REDIS_CLIENT"
  | "ERR_SIO_REDIS_CLOSED"
  | "ERR_SIO_REDIS_CONNECTION"
  | "ERR_SIO_REDIS_HANDLER"
  | "ERR_SIO_REDIS_NATIVE"
  | "ERR_SIO_REDIS_NOPERM"
  | "ERR_SIO_REDIS_NO_MINID"
  | "ERR_SIO_REDIS_NO_REPLICA"
  | "ERR_SIO_REDIS_NOT_RESTORED"
  | "ERR_SIO_REDIS_OLD_NODES"
  | "ERR_SIO_REDIS_OOM"
  | "ERR_SIO_REDIS_OPTION"
  | "ERR_SIO_REDIS_PROM_CLIENT"
  | "ERR_SIO_REDIS_PROTOCOL"
  | "ERR_SIO_REDIS_QUEUE_FULL"
  | "ERR_SIO_REDIS_REFUSED"
  | "ERR_SIO_REDIS_SETTING"
  | "ERR_SIO_REDIS_SLOW_CLIENT"
  | "ERR_SIO_REDIS_SOCKET_IO"
  | "ERR_SIO_REDIS_STREAM_TOO_SHORT"
  | "ERR_SIO_REDIS_TIMEOUT"
  | "ERR_SIO_REDIS_TLS"
  | "ERR_SIO_REDIS_TOO_LARGE"
  | "ERR_SIO_REDIS_UNAVAILABLE"
  | "ERR_SIO_REDIS_UNSUPPORTED"
  | "ERR_SIO_REDIS_WRONGTYPE";

/**
 * An error of this package: thrown, the reason of a rejection, or a warning.
 *
 * @example
 * try {
 *   createAdapter(client);
 * } catch (error) {
 *   console.error((error as SocketIORedisError).code); // "ERR_SIO_REDIS_CLIENT"
 * }
 */
export interface SocketIORedisError extends Error {
  code: ErrorCode;
  /** The error that caused this one, if there is one. */
  cause?: unknown;
}

/** The adapter of one namespace, `io.of(name).adapter`. */
declare abstract class RedisStreamsAdapter extends ClusterAdapter {
  /**
   * `loss`: entries of the namespace's stream were lost, as far as this node can tell. The other
   * events are those of every Socket.IO adapter.
   *
   * @example
   * io.of("/").adapter.on("loss", ({ reason, entries }) => console.error("lost", reason, entries));
   */
  on(event: "loss", listener: (loss: Loss) => void): this;
  /**
   * `sessionExpired`: a client has not come back within `maxDisconnectionDuration`, or was not recovered
   * when it did. Emitted once in the cluster, if the option `expiredSessions` is on, also for clients of
   * a node that was killed.
   *
   * @example
   * io.of("/").adapter.on("sessionExpired", ({ sid, data }) => console.log(sid, data, "is gone"));
   */
  on(event: "sessionExpired", listener: (session: ExpiredSession) => void): this;
  on(event: AdapterEvent, listener: (...args: any[]) => void): this;
  once(event: "loss", listener: (loss: Loss) => void): this;
  once(event: "sessionExpired", listener: (session: ExpiredSession) => void): this;
  once(event: AdapterEvent, listener: (...args: any[]) => void): this;
  off(event: "loss", listener: (loss: Loss) => void): this;
  off(event: "sessionExpired", listener: (session: ExpiredSession) => void): this;
  off(event: AdapterEvent, listener: (...args: any[]) => void): this;
  /** Counters of this node, and the state of this namespace's stream. */
  stats(): AdapterStats;
  /**
   * The rooms of the namespace on all nodes, those of single sockets included, in one round trip.
   *
   * @example const rooms = await io.of("/").adapter.allRooms();
   * @throws as `countSockets()`
   */
  allRooms(): Promise<Set<string>>;
  /**
   * How many sockets there are on all nodes, in one round trip, without their data. (Beside nodes of
   * upstream, in a second round trip, and with `requestsVia: "stream"`, the sockets are fetched and
   * counted.)
   *
   * @param opts which sockets; all by default
   * @example const online = await io.of("/chat").adapter.countSockets({ rooms: ["lobby"] });
   * @throws Error if a node does not answer in time: `responses` holds what the others answered;
   * at once, with the code `ERR_SIO_REDIS_QUEUE_FULL`, if the queue has no room for the request
   */
  countSockets(opts?: SocketSelection): Promise<number>;
  /**
   * The IDs of sockets on all nodes, likewise.
   *
   * @param opts which sockets; all by default
   * @example const ids = await io.of("/").adapter.socketIds({ except: ["admins"] });
   * @throws as `countSockets()`
   */
  socketIds(opts?: SocketSelection): Promise<Set<string>>;
  /** Resolves once everything published is written, or after 5 s without Redis. Never rejects. */
  close(): Promise<void>;
  /**
   * Writes a message for the other nodes, as upstream's adapter does. Public for code that was written
   * for upstream: `emit()` and the methods for rooms do not call it.
   *
   * @returns the ID of its entry, or an empty text if the message travels over PUB/SUB
   */
  doPublish(message: ClusterMessage): Promise<any>;
}
// Only the type: it is `createAdapter` that makes adapters.
export type { RedisStreamsAdapter };

/** Which sockets of a namespace: those in any of `rooms` (all if there is none), and in none of `except`. */
export interface SocketSelection {
  rooms?: Iterable<string>;
  except?: Iterable<string>;
  /** `timeout` in ms, 5,000 by default; with `local`, only sockets of this node. */
  flags?: { timeout?: number; local?: boolean };
}

/** The events of every Socket.IO adapter. */
type AdapterEvent =
  "create-room" | "delete-room" | "join-room" | "leave-room" | "error" | (string & {}) | symbol;

/** A client of `redis` (node-redis 4, 5, 6) for one server, a cluster or sentinels. */
export interface NodeRedisClient {
  sSubscribe(...args: any[]): any;
  duplicate(...args: any[]): any;
}

/** A pool of `redis` (node-redis 5, 6). */
export interface NodeRedisPool {
  execute(...args: any[]): any;
  readonly totalClients: number;
}

/** A client of `ioredis` (5, 6) or `iovalkey` for one server or sentinels. */
export interface IORedisClient {
  xread(...args: any[]): any;
  duplicate(...args: any[]): any;
  readonly options: object;
}

/** A client of `ioredis` (5, 6) or `iovalkey` for a cluster. */
export interface IORedisCluster {
  readonly isCluster: boolean;
  nodes(...args: any[]): any;
}

/**
 * How to connect to Redis: a client, connected or not, from which the adapter takes only the settings;
 * a URL; or settings.
 */
export type RedisClient =
  | NodeRedisClient
  | NodeRedisPool
  | IORedisClient
  | IORedisCluster
  | string
  | URL
  | ConnectionOptions;

/** The names of an object's methods. */
type MethodsOf<Type> = {
  [Name in keyof Type]: Type[Name] extends (...args: any[]) => any ? Name : never;
}[keyof Type];

/**
 * A client in a type that does not tell which one it is, as code for upstream may pass it: `unknown`, or
 * an interface with some of its methods.
 */
type LooseClient<Type> = unknown extends Type
  ? Type
  : Type extends object
    ? MethodsOf<Type> extends never
      ? never
      : Type
    : never;

/**
 * Makes the option `adapter` of a Socket.IO server.
 *
 * @param redisClient a client of `redis` (node-redis 4, 5, 6), `ioredis` (5, 6) or `iovalkey`,
 * connected or not; or a URL; or settings. The adapter takes the settings from a client and opens
 * its own connections. The type may tell less than that, or allow `null` and `undefined`; with such a
 * value, `createAdapter` throws.
 * @param opts options
 * @example
 * const io = new Server(3000, { adapter: createAdapter("redis://localhost:6379") });
 * @throws TypeError with `code` `ERR_SIO_REDIS_CLIENT` (not a client), `ERR_SIO_REDIS_SETTING` (an
 * unsupported setting) or `ERR_SIO_REDIS_OPTION`; RangeError with `ERR_SIO_REDIS_OPTION`
 */
export declare function createAdapter<Type = never>(
  redisClient: RedisClient | LooseClient<Type> | null | undefined,
  opts?: RedisStreamsAdapterOptions & ClusterAdapterOptions,
): (nsp: any) => RedisStreamsAdapter;

/** The type of each event's listener, by event: as the type arguments of Socket.IO's `Server`. */
export interface EventsMap {
  [event: string]: any;
}

/** Allows all events, with any arguments. */
export interface DefaultEventsMap {
  [event: string]: (...args: any[]) => void;
}

/** The events without acknowledgement. An emitter cannot receive acknowledgements. */
type EventsWithoutAck<Events> = {
  [Event in keyof Events]: Events[Event] extends (...args: infer Args) => any
    ? Args extends [...any[], (...args: any[]) => any]
      ? never
      : Event
    : never;
}[keyof Events] &
  (string | symbol);

/** The arguments of an event. */
type EventArgs<Listener> = Listener extends (...args: infer Args) => any ? Args : never;

/**
 * Options of an emitter. An object for `createAdapter` can be used. `streamName`, `streamCount`,
 * `maxLen`, `maxAge`, `onlyPlaintext` and `publishQueueBytes` have an effect, and the first four need the
 * servers' values. `maxLen` is 100_000 by default: what an emitter trims is gone for all servers.
 */
export interface RedisStreamsEmitterOptions extends RedisStreamsAdapterOptions {}

/** Rooms and flags for what is sent next. An operator never changes: each method returns a new one. */
export interface BroadcastOperator<
  EmitEvents extends EventsMap = DefaultEventsMap,
  ServerSideEvents extends EventsMap = DefaultEventsMap,
> {
  /** Sends to the clients in these rooms. Several calls add up. */
  to(room: string | string[]): BroadcastOperator<EmitEvents, ServerSideEvents>;
  /** The same as `to`. */
  in(room: string | string[]): BroadcastOperator<EmitEvents, ServerSideEvents>;
  /** Does not send to the clients in these rooms. Several calls add up. */
  except(room: string | string[]): BroadcastOperator<EmitEvents, ServerSideEvents>;
  /** Does not send to clients that are not ready to receive, or that come back later. */
  get volatile(): BroadcastOperator<EmitEvents, ServerSideEvents>;
  /** Whether the packet is compressed on its way to the clients. */
  compress(compress: boolean): BroadcastOperator<EmitEvents, ServerSideEvents>;
  /**
   * Sends an event to clients. The emitter queues events, up to `publishQueueBytes`, and writes them in
   * the order of the calls. `Emitter.flush()` reports whether they were written.
   *
   * @throws Error if the name is that of one of Socket.IO's own events; TypeError if an argument cannot
   * be encoded, or is a callback (an emitter cannot receive acknowledgements); an error with `code`
   * `ERR_SIO_REDIS_CLOSED` after `close()`
   */
  emit<Event extends EventsWithoutAck<EmitEvents>>(
    event: Event,
    ...args: EventArgs<EmitEvents[Event]>
  ): true;
  /** Makes the sockets join rooms. Queued and written like an event. */
  socketsJoin(rooms: string | string[]): void;
  /** Makes the sockets leave rooms. Queued and written like an event. */
  socketsLeave(rooms: string | string[]): void;
  /**
   * Disconnects the sockets. Queued and written like an event.
   *
   * @param close whether to close their connections, which other namespaces may share. False by
   * default
   */
  disconnectSockets(close?: boolean): void;
  /**
   * Sends an event to each server of the cluster, which receives it with `io.on(event, …)`. Rooms have
   * no effect. Queued and written like an event for clients.
   *
   * @throws as `emit` does
   */
  serverSideEmit<Event extends EventsWithoutAck<ServerSideEvents>>(
    event: Event,
    ...args: EventArgs<ServerSideEvents[Event]>
  ): true;
}

/** Counters of an emitter since it was created, and the state of its queue. */
export interface EmitterStats {
  /** Messages written and acknowledged by Redis, of all namespaces. */
  published: number;
  /** Messages that were not written, of all namespaces. */
  failed: number;
  /** Messages sent again although the first attempt may have arrived, of all namespaces. */
  doubtful: number;
  /** Connections made again after one broke. */
  reconnects: number;
  /** Messages to this namespace's stream that are neither written nor failed. */
  queueLength: number;
  /** What those take in all, in bytes. It counts for `publishQueueBytes`. */
  queueBytes: number;
}

export interface Emitter<
  EmitEvents extends EventsMap = DefaultEventsMap,
  ServerSideEvents extends EventsMap = DefaultEventsMap,
> extends BroadcastOperator<EmitEvents, ServerSideEvents> {}

/**
 * Sends messages to the clients and the servers of a cluster from a process that is not a server. It
 * opens its own connections: one per stream, with the first message.
 *
 * The process stays alive until everything is written, however long Redis is unreachable. Then it ends
 * by itself, without `flush()` or `close()`. If a message fails, the emitter warns.
 */
export declare class Emitter<
  EmitEvents extends EventsMap = DefaultEventsMap,
  ServerSideEvents extends EventsMap = DefaultEventsMap,
> {
  /**
   * @param redisClient as in `createAdapter`
   * @param opts the options of the servers
   * @param nsp the namespace, `"/"` by default
   * @throws as `createAdapter` does
   */
  constructor(redisClient: RedisClient, opts?: RedisStreamsEmitterOptions, nsp?: string);
  /** The emitter of another namespace, over the same connections. */
  of(nsp: string): Emitter<EmitEvents, ServerSideEvents>;
  /**
   * Resolves when everything that was emitted before, in all namespaces, is in Redis. It waits as long
   * as Redis is unreachable. Rejects if a message that was emitted since the last flush was not
   * written. The error's `cause` is the first failure, its `code` is that of the first failure, and its
   * `failed` is the number of failures. You do not have to handle the rejection: each failure is a
   * warning as well.
   */
  flush(): Promise<void>;
  /**
   * Flushes, for up to 5 s without Redis, and closes the connections of all namespaces. Rejects as
   * `flush()` does, with `ERR_SIO_REDIS_CLOSED` for messages that were not written in time.
   */
  close(): Promise<void>;
  /** Counters, and the queue of this namespace's stream. */
  stats(): EmitterStats;
}

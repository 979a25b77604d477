import type { ClusterAdapter, ClusterAdapterOptions } from "socket.io-adapter";

/** Options, with the names and defaults of `@socket.io/redis-streams-adapter`; then ours. */
export interface RedisStreamsAdapterOptions {
  /**
   * The name of the Redis stream, or its prefix when there are several: `<streamName>-<i>`.
   * @default "socket.io"
   * @example createAdapter(client, { streamName: "chat" })
   */
  streamName?: string;
  /**
   * The number of streams. Each namespace belongs to one of them; all nodes need the same number.
   * @default 1
   * @example createAdapter(client, { streamCount: 4 })
   */
  streamCount?: number;
  /**
   * The prefix of the PUB/SUB channels.
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
   * The number of entries to which the stream is trimmed, approximately (`MAXLEN ~`).
   * @default 10_000
   * @example createAdapter(client, { maxLen: 100_000 })
   */
  maxLen?: number;
  /**
   * The number of entries per XREAD.
   * @default 100
   * @example createAdapter(client, { readCount: 500 })
   */
  readCount?: number;
  /**
   * How long one XREAD waits for entries, in ms; 0 is without limit.
   * @default 5_000
   * @example createAdapter(client, { blockTimeInMs: 1_000 })
   */
  blockTimeInMs?: number;
  /**
   * The prefix of the keys that hold sessions of connection state recovery.
   * @default "sio:session:"
   * @example createAdapter(client, { sessionKeyPrefix: "chat:session:" })
   */
  sessionKeyPrefix?: string;
  /**
   * Set it when no payload ever holds binary: the search for binary is left out.
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
   * A node unheard of for this long is not waited for, in ms. Greater than `heartbeatInterval`.
   * @default 10_000
   * @example createAdapter(client, { heartbeatTimeout: 4_000 })
   */
  heartbeatTimeout?: number;
  /**
   * Bound of what waits to be published, in bytes, divided evenly among the streams; and once more of
   * what waits to be published over PUB/SUB. Over it, packets go to local clients only, with a
   * warning.
   * @default 67_108_864
   * @example createAdapter(client, { publishQueueBytes: 16 * 1024 * 1024 })
   */
  publishQueueBytes?: number;
  /**
   * Bound of what was read and waits for the event loop, in bytes. Over it, reading pauses.
   * @default 67_108_864
   * @example createAdapter(client, { inboxBytes: 16 * 1024 * 1024 })
   */
  inboxBytes?: number;
  /**
   * Bound of the recent broadcasts kept in memory for connection state recovery, in bytes, divided
   * evenly among the streams; 0 keeps none. Older ones are read from Redis.
   * @default 67_108_864
   * @example createAdapter(client, { historyBytes: 0 })
   */
  historyBytes?: number;
  /**
   * How requests, answers and heartbeats travel: over PUB/SUB, as in upstream 0.3, or in the
   * stream, as in upstream 0.1 and 0.2. The same on all nodes.
   * @default "pubsub"
   * @example createAdapter(client, { requestsVia: "stream" })
   */
  requestsVia?: "pubsub" | "stream";
}

/** TLS settings; certificates and keys are PEM. */
export interface TlsSettings {
  /** Trusted certificate authorities; those of Node.js by default. */
  ca?: string | Buffer | Array<string | Buffer>;
  /** The client certificate chain. */
  cert?: string | Buffer | Array<string | Buffer>;
  /** The client certificate's private key. */
  key?: string | Buffer;
  /** The key's passphrase. */
  passphrase?: string;
  /** The name expected in the server's certificate; the host by default. */
  servername?: string;
  /**
   * Whether the server's certificate is verified.
   * @default true
   */
  rejectUnauthorized?: boolean;
}

/** Where Redis is, for users without a Redis client. */
export interface ConnectionOptions {
  /** `redis://`, `rediss://`, `valkey://`, `valkeys://` or `unix://`; the other fields win over its parts. */
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
  /** The name shown by CLIENT LIST. */
  clientName?: string;
  /**
   * Time limit for making a connection, in ms.
   * @default 5_000
   */
  connectTimeout?: number;
  /** Put before stream and session keys. */
  keyPrefix?: string;
  /** A Redis Cluster in place of a server. The settings beside it are for all nodes. */
  cluster?: ClusterSettings;
  /** Sentinels in place of a server. The settings beside them are for the master. */
  sentinel?: SentinelSettings;
  /** Only addresses of this family. */
  family?: 0 | 4 | 6;
  /**
   * Asked at each connect; wins over `username` and `password`. A provider that streams also says
   * when they have changed: connections that stand are then authenticated again.
   */
  credentials?: (() => Credentials | Promise<Credentials>) | CredentialsProvider;
}

/** What Redis is told with AUTH. */
export interface Credentials {
  username?: string;
  password?: string;
}

/** A credentials provider as node-redis 5 and 6 take it. */
export type CredentialsProvider =
  | { type: "async-credentials-provider"; credentials(): Promise<Credentials> }
  | {
      type: "streaming-credentials-provider";
      /** Gives the current credentials, and tells the listener of later ones until disposed of. */
      subscribe(listener: {
        onNext(credentials: Credentials): void;
        onError(error: Error): void;
      }): Promise<[Credentials, { dispose(): void }]>;
    };

/** Where a server is. */
export interface NodeAddress {
  host?: string;
  port?: number | string;
}

/** A Redis Cluster. */
export interface ClusterSettings {
  /** Nodes to begin with: URLs or addresses; the others are learned from them. */
  nodes: (string | URL | NodeAddress)[];
  /** From `"host:port"`, as the nodes tell it, to where that is to be found from here. */
  natMap?: Record<string, NodeAddress>;
}

/** Redis Sentinels. */
export interface SentinelSettings {
  /** The master's name. */
  name: string;
  /** The sentinels; the port is 26379 when not given. */
  nodes: NodeAddress[];
  /** The sentinels' user. */
  username?: string;
  /** The sentinels' password. */
  password?: string;
  /** TLS to the sentinels. */
  tls?: boolean | TlsSettings;
  /** From `"host:port"`, as the sentinels tell it, to where that is to be found from here. */
  natMap?: Record<string, NodeAddress>;
}

/** A histogram of how long something took. */
export interface Latency {
  /** How many there were. */
  count: number;
  /** How long they took together, in ms. */
  sumMs: number;
  /** `[ms, count]`: how many took no longer than that; the bounds are always the same. */
  buckets: [number, number][];
}

/**
 * Counters since this node's engine was started, and its state. The engine starts with the first
 * namespace of a server, and anew with the first one after all were closed.
 */
export interface AdapterStats {
  /** Entries read from all streams. */
  read: number;
  /** Entries and PUB/SUB messages handed to the event loop. */
  delivered: number;
  /** Entries that nobody here wants: other namespaces, heartbeats, answers to other nodes. */
  skipped: number;
  /** Entries and messages that could not be understood. */
  malformed: number;
  /** Entries dropped because a resend had doubled them. */
  doubled: number;
  /** Entries known to have been lost: trimmed before they were read, or in a failover. */
  lost: number;
  /** Losses, as told by the event `loss`, whether or not it is known how many entries. */
  losses: number;
  /** Times that the stream was deleted, replaced, or fell back. */
  resets: number;
  /** Entries written and acknowledged by Redis, heartbeats included. */
  published: number;
  /** Publishes that failed: their packets went to local clients only. */
  failed: number;
  /** Publishes sent again without proof that they had not arrived. */
  doubtful: number;
  /** PUB/SUB messages dropped because the event loop was too far behind, or in an outage. */
  dropped: number;
  /** Connections made again after one broke. */
  reconnects: number;
  /** Sessions of connection state recovery given back to clients. */
  restores: number;
  /** Sessions that clients asked for and did not get: they start anew. */
  restoresRefused: number;
  /** Sessions kept for clients that have gone. */
  sessionsSaved: number;
  /**
   * From a publish to Redis's acknowledgement, of everything in `published`: its time in the queue,
   * and outages, included.
   */
  publishLatency: Latency;
  /** From a client's question for its session to the answer, of everything in `restores`. */
  restoreLatency: Latency;
  /** The key of this namespace's stream. Several namespaces may share one. */
  stream: string;
  /** Whether all connections that this namespace needs stand, as far as is known. */
  connected: boolean;
  /**
   * Time since the stream's reader has heard of Redis, in ms. Up to `blockTimeInMs`, at most 30 s,
   * when nothing is written; more when Redis hangs, is away, or when reading pauses because of
   * `inboxBytes`.
   */
  silentMs: number;
  /** ID of the last entry read from this namespace's stream; absent before the first read. */
  position?: string;
  /**
   * Entries of the stream that this node has not read yet, those not counted that were trimmed.
   * Redis is asked once a second; in between it falls as the node reads. Exact when the node was
   * caught up, or behind all of the stream, in a look before; never less than it is. Absent where
   * Redis does not tell (before 7.0, without the right to XINFO) unless the stream is empty, and
   * when nothing is read. While Redis is away it stays as it was: see `connected` and `silentMs`.
   */
  lagEntries?: number;
  /**
   * How much older the last entry that was read is than the last one of the stream, by their IDs,
   * in ms; 0 when all was read. No more than the time since all had been read, so that a quiet
   * night is no lag. What waits for the event loop has been read: see `inboxAgeMs`.
   */
  lagMs?: number;
  /** Entries in the stream at the last look, where XINFO is permitted. */
  streamLength?: number;
  /** Publishes to this namespace's stream that were neither written nor failed. */
  queueLength: number;
  /** Bytes of those that wait. */
  queueBytes: number;
  /** Events that wait for the event loop. */
  inboxLength: number;
  /** Their bytes. */
  inboxBytes: number;
  /** How long the oldest of them has been waiting, in ms: late by that much is what comes next. */
  inboxAgeMs: number;
  /** Broadcasts of the stream kept in memory for connection state recovery. */
  historyLength: number;
  /** Their bytes. */
  historyBytes: number;
  /**
   * Nodes that are heard, this one included: those with this adapter, in any namespace. With
   * `requestsVia: "stream"` those in this namespace, upstream's included.
   */
  members: number;
}

/** What messages on channels of `node:diagnostics_channel` have in common. */
export interface DiagnosticsMessage {
  /** The Socket.IO server; absent for an emitter. */
  server?: any;
  /** Names the node, as `adapter.uid` does; `"emitter"` for an emitter. */
  uid: string;
}

/** On `socket.io-redis-streams:loss`: entries were lost, said once per node and stream. */
export interface LossMessage extends DiagnosticsMessage, Loss {
  /** The open namespaces of the stream. */
  namespaces: string[];
}

/** On `socket.io-redis-streams:reconnect`: a connection that was broken stands again. */
export interface ReconnectMessage extends DiagnosticsMessage {
  /** The reader's or the writer's of a stream, or that of requests, answers and heartbeats. */
  connection: "reader" | "writer" | "pubsub";
  /** The open namespaces that it serves; none for an emitter. */
  namespaces: string[];
  /** Time since it was found broken, in ms. */
  awayMs: number;
}

/** On `socket.io-redis-streams:member-join`: a node is heard for the first time, or again. */
export interface MemberJoinMessage extends DiagnosticsMessage {
  /** The other node's uid. */
  member: string;
  /** With `requestsVia: "stream"`, where it is; else nodes are heard in all namespaces at once. */
  namespace?: string;
}

/** On `socket.io-redis-streams:member-leave`: a node has gone. */
export interface MemberLeaveMessage extends DiagnosticsMessage {
  /** The other node's uid. */
  member: string;
  /**
   * `left`: it has said so, since it was closed. `silent`: nothing was heard of it for
   * `heartbeatTimeout`, since it ended otherwise, hangs, or is cut off.
   */
  reason: "left" | "silent";
  /** As in `MemberJoinMessage`. */
  namespace?: string;
}

/** Entries of the namespace's stream were lost: argument of the adapter's event `loss`. */
export interface Loss {
  /**
   * `trimmed`: they were trimmed before this node read them (see `maxLen`), or lost in a failover.
   * `deleted`: the stream was deleted, or replaced by another one.
   * `fellBack`: its last entry lies before what was read: a replica without the latest entries
   * took over, or Redis's clock went back.
   * `wrongType`: the stream's key holds something else.
   */
  reason: "trimmed" | "deleted" | "fellBack" | "wrongType";
  /** How many, if that is known. */
  entries?: number;
}

/** The stable `code` of an error or a warning of this package; docs/monitoring.md explains each. */
export type ErrorCode =
  | "ERR_SIO_REDIS_AUTH"
  | "ERR_SIO_REDIS_CLIENT"
  | "ERR_SIO_REDIS_CLOSED"
  | "ERR_SIO_REDIS_CONNECTION"
  | "ERR_SIO_REDIS_HANDLER"
  | "ERR_SIO_REDIS_NATIVE"
  | "ERR_SIO_REDIS_NOPERM"
  | "ERR_SIO_REDIS_NOT_RESTORED"
  | "ERR_SIO_REDIS_OLD_NODES"
  | "ERR_SIO_REDIS_OOM"
  | "ERR_SIO_REDIS_OPTION"
  | "ERR_SIO_REDIS_PROM_CLIENT"
  | "ERR_SIO_REDIS_PROTOCOL"
  | "ERR_SIO_REDIS_QUEUE_FULL"
  | "ERR_SIO_REDIS_REFUSED"
  | "ERR_SIO_REDIS_SETTING"
  | "ERR_SIO_REDIS_SOCKET_IO"
  | "ERR_SIO_REDIS_TIMEOUT"
  | "ERR_SIO_REDIS_TLS"
  | "ERR_SIO_REDIS_TOO_LARGE"
  | "ERR_SIO_REDIS_UNAVAILABLE"
  | "ERR_SIO_REDIS_UNSUPPORTED"
  | "ERR_SIO_REDIS_WRONGTYPE";

/**
 * An error that this package throws, rejects with or warns of.
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
  /** What was at fault, if another error was. */
  cause?: unknown;
}

/** The adapter of one namespace, `io.of(name).adapter`. */
export interface RedisStreamsAdapter extends ClusterAdapter {
  /**
   * `loss`: entries of the namespace's stream were lost, as far as this node can tell. The other
   * events are those of every Socket.IO adapter.
   *
   * @example
   * io.of("/").adapter.on("loss", ({ reason, entries }) => console.error("lost", reason, entries));
   */
  on(event: "loss", listener: (loss: Loss) => void): this;
  on(event: AdapterEvent, listener: (...args: any[]) => void): this;
  once(event: "loss", listener: (loss: Loss) => void): this;
  once(event: AdapterEvent, listener: (...args: any[]) => void): this;
  off(event: "loss", listener: (loss: Loss) => void): this;
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
   * upstream, and with `requestsVia: "stream"`, the sockets are fetched and counted.)
   *
   * @param opts which sockets; all by default
   * @example const online = await io.of("/chat").adapter.countSockets({ rooms: ["lobby"] });
   * @throws Error if a node does not answer in time: `responses` holds what the others answered
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
  /** Resolves once everything published is out, or after 5 s without Redis. Never rejects. */
  close(): Promise<void>;
}

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
 * Where Redis is: a client, connected or not, out of which only the settings are taken; a URL; or
 * settings.
 */
export type RedisClient =
  | NodeRedisClient
  | NodeRedisPool
  | IORedisClient
  | IORedisCluster
  | string
  | URL
  | ConnectionOptions;

/**
 * Makes the option `adapter` of a Socket.IO server.
 *
 * @param redisClient a client of `redis` (node-redis 4, 5, 6), `ioredis` (5, 6) or `iovalkey`,
 * connected or not; or a URL; or settings. The adapter takes the settings out of a client and
 * opens connections of its own.
 * @param opts options
 * @example
 * const io = new Server(3000, { adapter: createAdapter("redis://localhost:6379") });
 * @throws TypeError with `code` `ERR_SIO_REDIS_CLIENT` (not a client), `ERR_SIO_REDIS_SETTING` (a
 * setting cannot be carried) or `ERR_SIO_REDIS_OPTION`; RangeError with `ERR_SIO_REDIS_OPTION`
 */
export declare function createAdapter(
  redisClient: RedisClient,
  opts?: RedisStreamsAdapterOptions & ClusterAdapterOptions,
): (nsp: any) => RedisStreamsAdapter;

/** Events by name, with the listener of each: as the type arguments of Socket.IO's `Server`. */
export interface EventsMap {
  [event: string]: any;
}

/** All events, with any arguments. */
export interface DefaultEventsMap {
  [event: string]: (...args: any[]) => void;
}

/** The events that want no acknowledgement: an emitter would not get it. */
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
 * Options of an emitter: an object for `createAdapter` will do. `streamName`, `streamCount`,
 * `maxLen`, `onlyPlaintext` and `publishQueueBytes` matter, and are those of the servers; the others
 * have no effect.
 */
export interface RedisStreamsEmitterOptions extends RedisStreamsAdapterOptions {}

/** Rooms and flags, for what is sent next. It never changes: each method gives a new one. */
export interface BroadcastOperator<
  EmitEvents extends EventsMap = DefaultEventsMap,
  ServerSideEvents extends EventsMap = DefaultEventsMap,
> {
  /** To the clients in these rooms; several calls add up. */
  to(room: string | string[]): BroadcastOperator<EmitEvents, ServerSideEvents>;
  /** The same as `to`. */
  in(room: string | string[]): BroadcastOperator<EmitEvents, ServerSideEvents>;
  /** Not to those in these rooms; several calls add up. */
  except(room: string | string[]): BroadcastOperator<EmitEvents, ServerSideEvents>;
  /** Not to clients that are not ready to receive, and not to those that come back later. */
  get volatile(): BroadcastOperator<EmitEvents, ServerSideEvents>;
  /** Whether the packet is compressed on its way to the clients. */
  compress(compress: boolean): BroadcastOperator<EmitEvents, ServerSideEvents>;
  /**
   * Sends an event to clients. It is queued, up to `publishQueueBytes`, and written in the order of
   * the calls; see `Emitter.flush()` for what comes of it.
   *
   * @throws Error for the names of Socket.IO's own events; TypeError for what cannot be encoded, and
   * for a callback: there are no acknowledgements; an error with `code` `ERR_SIO_REDIS_CLOSED` after
   * `close()`
   */
  emit<Event extends EventsWithoutAck<EmitEvents>>(
    event: Event,
    ...args: EventArgs<EmitEvents[Event]>
  ): true;
  /** Has sockets join rooms. Queued and written like an event. */
  socketsJoin(rooms: string | string[]): void;
  /** Has sockets leave rooms. Queued and written like an event. */
  socketsLeave(rooms: string | string[]): void;
  /**
   * Disconnects sockets. Queued and written like an event.
   *
   * @param close whether to close their connections, which other namespaces may share; false by
   * default
   */
  disconnectSockets(close?: boolean): void;
  /**
   * Sends an event to each server of the cluster, whatever the rooms: `io.on(event, …)`. Queued and
   * written like an event for clients.
   *
   * @throws as `emit`
   */
  serverSideEmit<Event extends EventsWithoutAck<ServerSideEvents>>(
    event: Event,
    ...args: EventArgs<ServerSideEvents[Event]>
  ): true;
}

/** What an emitter has written since it was made, and what waits. */
export interface EmitterStats {
  /** Messages written and acknowledged by Redis, of all namespaces. */
  published: number;
  /** Messages that were not written, of all namespaces. */
  failed: number;
  /** Messages sent again without proof that they had not arrived, of all namespaces. */
  doubtful: number;
  /** Connections made again after one broke. */
  reconnects: number;
  /** Messages to this namespace's stream that were neither written nor failed. */
  queueLength: number;
  /** Bytes of those that wait. */
  queueBytes: number;
}

export interface Emitter<
  EmitEvents extends EventsMap = DefaultEventsMap,
  ServerSideEvents extends EventsMap = DefaultEventsMap,
> extends BroadcastOperator<EmitEvents, ServerSideEvents> {}

/**
 * Speaks to the clients and the servers of a cluster from a process that is no server. It opens a
 * connection of its own, one per stream, with the first message.
 *
 * The process stays alive until everything is written, however long Redis is away, and then ends by
 * itself: without `flush()` and without `close()`. What fails is warned of.
 */
export declare class Emitter<
  EmitEvents extends EventsMap = DefaultEventsMap,
  ServerSideEvents extends EventsMap = DefaultEventsMap,
> {
  /**
   * @param redisClient as of `createAdapter`
   * @param opts options, those of the servers
   * @param nsp the namespace, `"/"` by default
   * @throws as `createAdapter`
   */
  constructor(redisClient: RedisClient, opts?: RedisStreamsEmitterOptions, nsp?: string);
  /** The emitter of another namespace, over the same connections. */
  of(nsp: string): Emitter<EmitEvents, ServerSideEvents>;
  /**
   * Resolves when everything that was emitted before, in all namespaces, is in Redis; waits as long as
   * Redis is away. Rejects when something that was emitted since the last flush was not written, with
   * the `code` and as `cause` the error of the first one, and with their number as `failed`. Nobody
   * has to handle that: a failure is a warning as well.
   */
  flush(): Promise<void>;
  /**
   * Flushes, for up to 5 s without Redis, and closes the connections, of all namespaces. Rejects as
   * `flush()`, with `ERR_SIO_REDIS_CLOSED` for what did not get out in time.
   */
  close(): Promise<void>;
  /** Counters, and the queue of this namespace's stream. */
  stats(): EmitterStats;
}

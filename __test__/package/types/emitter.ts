// The emitter: its events are typed as those of Socket.IO's `Server`, and what cannot be emitted does not
// compile.

import { expectTypeOf } from "expect-type";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { Emitter } from "socket.io-redis-streams-native";
import type {
  BroadcastOperator,
  EmitterStats,
  RedisStreamsAdapterOptions,
  RedisStreamsEmitterOptions,
} from "socket.io-redis-streams-native";

// Every client, a URL, and settings; options that servers have as well; a namespace.
new Emitter(createClient());
new Emitter(new Redis(), { streamName: "chat", maxLen: 1_000 });
new Emitter("redis://localhost", {}, "/admin");
new Emitter({ host: "localhost", port: 6379 });
expectTypeOf<RedisStreamsAdapterOptions>().toExtend<RedisStreamsEmitterOptions>();
// @ts-expect-error
new Emitter();
// @ts-expect-error
new Emitter("redis://localhost", { maxLen: "many" });
// @ts-expect-error
new Emitter("redis://localhost", "/admin");

// Any event, where none are named.
const emitter = new Emitter("redis://localhost");
expectTypeOf(emitter.emit("any", 1, Buffer.from("2"))).toEqualTypeOf<true>();
expectTypeOf(emitter.to("a").to(["b", "c"]).in("d").except("e")).toExtend<BroadcastOperator>();
expectTypeOf(emitter.volatile.compress(false).emit("any")).toEqualTypeOf<true>();
expectTypeOf(emitter.of("/admin")).toEqualTypeOf<Emitter>();
expectTypeOf(emitter.in("a").socketsJoin(["b"])).toEqualTypeOf<void>();
expectTypeOf(emitter.in("a").socketsLeave("b")).toEqualTypeOf<void>();
expectTypeOf(emitter.disconnectSockets(true)).toEqualTypeOf<void>();
expectTypeOf(emitter.serverSideEmit("any", 1)).toEqualTypeOf<true>();
expectTypeOf(emitter.flush()).toEqualTypeOf<Promise<void>>();
expectTypeOf(emitter.close()).toEqualTypeOf<Promise<void>>();
expectTypeOf(emitter.stats()).toEqualTypeOf<EmitterStats>();

// Named events.
interface ToClients {
  news: (title: string, id: number) => void;
  ask: (question: string, answer: (text: string) => void) => void;
}
interface ToServers {
  reload: (file: string) => void;
}
const typed = new Emitter<ToClients, ToServers>("redis://localhost");
typed.emit("news", "title", 1);
typed.to("room").emit("news", "title", 1);
typed.serverSideEmit("reload", "file");
// @ts-expect-error
typed.emit("news", 1);
// @ts-expect-error
typed.emit("gossip");
// @ts-expect-error an emitter gets no acknowledgements
typed.emit("ask", "why?", () => {});
// @ts-expect-error
typed.serverSideEmit("news", "title", 1);

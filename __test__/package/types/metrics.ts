// The metrics, by their subpath.

import { expectTypeOf } from "expect-type";
import { Registry } from "prom-client";
import { Server } from "socket.io";
import { registerMetrics } from "socket.io-redis-streams-native/metrics";
import type { MetricsOptions, RegisteredMetrics } from "socket.io-redis-streams-native/metrics";

const io = new Server();
expectTypeOf(registerMetrics(io)).toEqualTypeOf<RegisteredMetrics>();
const options: MetricsOptions = { register: new Registry(), prefix: "chat_", labels: { shard: 1 } };
expectTypeOf(registerMetrics(io, options).unregister()).toEqualTypeOf<void>();
// @ts-expect-error
registerMetrics();
// @ts-expect-error
registerMetrics(io, { register: "global" });
// @ts-expect-error
registerMetrics(io, { labels: { shard: true } });

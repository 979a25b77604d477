"use strict";
// Drains the stream in a process of its own, while redis-benchmark fills it.

const { RawRedis } = require("./raw-redis");

const redis = new RawRedis(Number(process.argv[2]));
redis.connected.then(() => {
  redis.drain();
  process.send?.({ id: 0 });
});
process.on("disconnect", () => process.exit());

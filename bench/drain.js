"use strict";
// Reads the stream in its own process while redis-benchmark writes to it.

const { RawRedis } = require("./raw-redis");

const redis = new RawRedis(Number(process.argv[2]));
redis.connected.then(() => {
  redis.drain();
  process.send?.({ id: 0 });
});
process.on("disconnect", () => process.exit());

// A socket leaves several rooms with one call of `del()`, as socket.io-adapter has it after 2.5.
//
// Breaks if the engine goes on to hand over what is for these rooms, because it was not told.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { Adapter } = require("socket.io-adapter");
const { startCluster, useRedis } = require("../helpers/cluster");

const context = useRedis();

test("rooms that a socket leaves together", async () => {
  const prototype = /** @type {any} */ (Adapter.prototype);
  const stock = prototype.del;
  prototype.del = function (/** @type {string} */ id, /** @type {any} */ rooms) {
    for (const room of rooms instanceof Set ? rooms : [rooms]) {
      stock.call(this, id, room);
    }
  };
  const cluster = await startCluster(context, { nodes: 2 });
  try {
    const [, client] = cluster.clients;
    const rooms = ["a", "b"];
    const adapter = cluster.adapter(1);
    adapter.addAll(client.id, new Set(rooms));
    const emit = async () => {
      const before = adapter.stats().delivered;
      rooms.forEach((room) => cluster.io(0).to(room).emit("in room"));
      cluster.io(0).to(client.id).emit("last");
      await client.receives("last", client.received("last").length + 1);
      return adapter.stats().delivered - before;
    };
    assert.equal(await emit(), 3);
    adapter.del(client.id, new Set(rooms));
    assert.deepEqual([...adapter.rooms.keys()], [client.id]);
    assert.equal(await emit(), 1);
  } finally {
    await cluster.close();
    prototype.del = stock;
  }
});

// A save of a session whose reply was lost is tried again, long after another node has had the client.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { defer } = require("../faults/defer");
require("../faults/warnings"); // connections that break are warned of
const { createAdmin } = require("../helpers/clients");
const { startNodeOn } = require("../helpers/node");
const { sessionsIn } = require("../helpers/recovery");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { waitFor } = require("../helpers/wait");

// Breaks when it is repeated without a look at what others have saved since: the client is recovered into
// the rooms and the data that it had before.
test("it does not overwrite what the other node has saved", async (t) => {
  const redis = await startRedis();
  defer(t, () => redis.stop());
  const admin = await createAdmin(redis);
  defer(t, () => admin.close());
  let isArmed = false;
  const proxy = await startProxy(redis.port, (link, direction, chunk) => {
    if (isArmed && direction === "up" && chunk.includes("\r\nSET\r\n")) {
      isArmed = false;
      link.stall("down");
    }
  });
  defer(t, () => proxy.close());
  const [first, other] = await Promise.all(
    [proxy.port, redis.port].map(async (port) => {
      const node = await startNodeOn(
        { adapterArgument: { host: redis.host, port }, close: async () => {} },
        { serverOptions: { connectionStateRecovery: {} } },
      );
      defer(t, () => node.close());
      const { sockets } = node.io.of("/");
      const saved = () => /** @type {any} */ (node.io.of("/").adapter).stats().sessionsSaved;
      return { ...node, saved, socket: () => [...sockets.values()][0] };
    }),
  );
  const client = await connectClient(first.url);
  defer(t, () => client.disconnect());
  await first.socket().join("of before");
  first.socket().data.step = "before";
  first.io.emit("first");
  await client.receives("first");
  const { id } = client;

  isArmed = true;
  client.cut();
  const isSaved = async () => (await sessionsIn(admin)).length === 1;
  await waitFor(isSaved, { what: "the session to be saved" });
  assert.deepEqual([isArmed, first.saved()], [false, 0], "the reply is lost");

  await client.reconnect(other.url);
  assert.deepEqual([client.socket.recovered, client.id], [true, id]);
  await other.socket().leave("of before");
  await other.socket().join("of now");
  other.socket().data.step = "now";
  client.cut();
  await waitFor(() => other.saved() === 1, { what: "the session to be saved by the other node" });

  proxy.cut();
  await waitFor(() => first.saved() === 1, { what: "the first node to have tried again" });
  await client.reconnect(other.url);
  assert.deepEqual([client.socket.recovered, client.id], [true, id]);
  const { rooms, data } = other.socket();
  assert.deepEqual([[...rooms].sort(), data], [["of now", id].sort(), { step: "now" }]);
});

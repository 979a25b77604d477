// Redis refuses a packet while a recovered socket is on its way through the middlewares: the packet is
// for it as well, and has no entry, so no offset.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { decodeMsgpack } = require("../../lib/codec");
const { createAdmin } = require("../helpers/clients");
const { startNode } = require("../helpers/node");
const { sessionsIn } = require("../helpers/recovery");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const { OPTIONS } = require("./two-nodes");
require("./warnings"); // the refusal is warned of

// Breaks when the last argument of whatever was sent last counts as an offset: a number ends the
// process when the client leaves, and any text hides what the client may hold.
for (const last of [1, "a text"]) {
  test(`a packet with ${JSON.stringify(last)} at its end is no offset`, async (t) => {
    const redis = await startRedis();
    defer(t, () => redis.stop());
    const admin = await createAdmin(redis);
    defer(t, () => admin.close());
    let passage = Promise.resolve();
    let runs = 0;
    const node = await startNode({
      redis,
      adapterOptions: OPTIONS,
      serverOptions: {
        connectionStateRecovery: { maxDisconnectionDuration: 60_000, skipMiddlewares: false },
      },
      setup: (io) =>
        io.use((_, next) => {
          runs++;
          passage.then(() => next());
        }),
    });
    defer(t, () => node.close());
    const [client, other] = await Promise.all([connectClient(node.url), connectClient(node.url)]);
    defer(t, () => [client, other].forEach((each) => each.disconnect()));
    node.io.emit("first");
    await client.receives("first");
    client.cut();
    await waitFor(async () => (await sessionsIn(admin)).length === 1, { what: "its session" });
    node.io.emit("missed");

    let pass = () => {};
    passage = new Promise((resolve) => (pass = resolve));
    const before = runs;
    const back = client.reconnect(node.url);
    await waitFor(() => runs > before, { what: "the middleware to run" });
    await admin.command("CONFIG", "SET", "maxmemory", 1);
    node.io.emit("refused", last);
    await other.receives("refused");
    await admin.command("CONFIG", "SET", "maxmemory", 0);
    pass();
    await back;
    assert.equal(client.socket.recovered, true);
    await client.receives("refused");
    node.io.emit("written again");
    await client.receives("written again");
    assert.equal(client.received("missed").length, 1);

    client.cut();
    await waitFor(async () => (await sessionsIn(admin)).length === 1, {
      what: "its session again",
    });
    const [key] = await sessionsIn(admin);
    const { ahead } = decodeMsgpack(Buffer.from(await admin.command("GET", key), "base64"));
    const [missed] = client.record.filter(([event]) => event === "missed");
    assert.equal(ahead, missed.at(-1), "what it was sent before its CONNECT");
  });
}

// What docs/security.md says to be readable in Redis is there, and what it says not to be is not.

"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { join } = require("node:path");
const { after, before, describe, test } = require("node:test");
const { createClient } = require("redis");

const { createAdapter } = require("../..");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");
const { startNode } = require("./nodes");

const SESSION = "sio:session:";

describe("what docs/security.md says of what is stored", () => {
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  /** @type {any} */
  let admin;

  before(async () => {
    redis = await startRedis({ appendOnly: true });
    admin = createClient({ url: redis.url });
    await admin.connect();
  });

  after(async () => {
    admin?.destroy();
    await redis?.stop();
  });

  /** All that the append-only file holds. */
  function appendOnlyFile() {
    const files = fs.readdirSync(redis.directory, { recursive: true }).map(String);
    return files
      .filter((file) => file.endsWith(".aof"))
      .map((file) => fs.readFileSync(join(redis.directory, file), "latin1"))
      .join("");
  }

  test("broadcasts, sessions and handshakes", async (t) => {
    const options = { connectionStateRecovery: {} };
    const [a, b] = [
      await startNode(t, createAdapter(redis.url), options),
      await startNode(t, createAdapter(redis.url), options),
    ];
    b.io.on("connection", (socket) => {
      socket.data.user = "in socket.data";
      socket.join("in rooms");
    });
    const spy = admin.duplicate();
    await spy.connect();
    t.after(() => spy.destroy());
    let overheard = "";
    const listener = (/** @type {Buffer} */ message) => (overheard += message.toString("latin1"));
    await spy.pSubscribe("*", listener, true);

    const client = await connectClient(b.url, {
      auth: { token: "in auth" },
      extraHeaders: { cookie: "in cookies" },
    });
    t.after(() => client.disconnect());
    await waitFor(async () => (await a.io.of("/").adapter.serverCount()) === 2);
    a.io.emit("news", "in arguments");
    await client.receives("news");
    await a.io.fetchSockets();
    for (const secret of ["in auth", "in cookies", "in socket.data", "in rooms"]) {
      await waitFor(() => overheard.includes(secret), { what: `"${secret}" over PUB/SUB` });
    }
    assert.doesNotMatch(overheard, /in arguments/, "a broadcast is not sent over PUB/SUB");

    const entries = JSON.stringify(await admin.xRange("socket.io", "-", "+"));
    assert.match(entries, /in arguments/);
    assert.doesNotMatch(entries, /in auth|in cookies/, "a handshake is not in the stream");

    client.cut();
    const keys = await waitFor(async () => {
      const found = await admin.keys(`${SESSION}*`);
      return found.length > 0 && found;
    });
    const session = Buffer.from(await admin.get(keys[0]), "base64").toString("latin1");
    assert.match(session, /in socket\.data/);
    assert.match(session, /in rooms/);
    assert.doesNotMatch(session, /in auth|in cookies/, "a handshake is not in a session");
    assert.ok((await admin.pTTL(keys[0])) > 0, "it expires");

    const file = await waitFor(() => {
      const content = appendOnlyFile();
      return content.includes(SESSION) ? content : "";
    });
    assert.match(file, /in arguments/);
    assert.doesNotMatch(file, /in auth|in cookies/, "PUB/SUB is not in the append-only file");
  });
});

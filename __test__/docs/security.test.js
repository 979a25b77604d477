// What docs/security.md says to be readable in Redis is there, and what it says not to be is not.

"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { join } = require("node:path");
const { after, before, describe, test } = require("node:test");
const { createClient } = require("redis");

const { createAdapter } = require("../..");
const { ENDED_SESSIONS, SESSION_KEY_PREFIX } = require("../helpers/recovery");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");
const { startNode } = require("./nodes");

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

    /** @param {string} pattern @returns {Promise<string>} */
    const keyLike = async (pattern) => {
      const found = await waitFor(async () => {
        const keys = await admin.keys(pattern);
        return keys.length > 0 && keys;
      });
      return found[0];
    };
    /** @param {string} key @param {string} session */
    const assertSession = async (key, session) => {
      assert.match(session, /in socket\.data/);
      assert.match(session, /in rooms/);
      assert.doesNotMatch(session, /in auth|in cookies/, "a handshake is not in a session");
      assert.ok((await admin.pTTL(key)) > 0, "it expires");
    };
    const live = await keyLike(`${SESSION_KEY_PREFIX}live:*`);
    await assertSession(live, JSON.stringify(await admin.hGetAll(live)));
    client.cut();
    const ended = await keyLike(ENDED_SESSIONS);
    const session = Buffer.from(await admin.get(ended), "base64").toString("latin1");
    await assertSession(ended, session);

    const file = await waitFor(() => {
      const content = appendOnlyFile();
      return content.includes(SESSION_KEY_PREFIX) ? content : "";
    });
    assert.match(file, /in arguments/);
    assert.doesNotMatch(file, /in auth|in cookies/, "PUB/SUB is not in the append-only file");
  });
});

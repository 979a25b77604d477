// `npm start` as a user runs it: three nodes over one Redis, and nothing left after Ctrl-C. What the
// page does is tested in __test__/page.

"use strict";

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { createServer, get } = require("node:http");
const { after, before, describe, it } = require("node:test");
const { createClient } = require("redis");
const { NODES, descendants, npmStart, skip } = require("./helpers/npm-start");
const { freePort, startRedis } = require("./helpers/redis-server");
const { once, waitFor } = require("./helpers/wait");

/**
 * @param {string} address
 * @param {Record<string, string>} headers
 * @returns {Promise<number | undefined>} the status; `fetch` sets no Host
 */
function statusOf(address, headers) {
  return new Promise((resolve, reject) => {
    const request = get(address, { headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on("error", reject);
  });
}

describe("npm start", { skip }, () => {
  /** @type {import("./helpers/npm-start").NpmStart} */
  let chat;

  before(async () => {
    chat = await npmStart();
  });

  after(() => chat?.kill());

  it("serves the page on each node, and no other file", async () => {
    assert.equal(new Set(Object.values(chat.addresses)).size, NODES.length);
    for (const address of Object.values(chat.addresses)) {
      const page = await fetch(address);
      assert.equal(page.status, 200);
      assert.match(page.headers.get("content-type") ?? "", /^text\/html/);
      assert.doesNotMatch(page.headers.get("content-security-policy") ?? "unsafe", /unsafe/);
      const files = [...(await page.text()).matchAll(/(?:src|href)="(\/[^"]+)"/g)];
      assert.ok(files.length >= 4, "scripts, styles and an icon");
      for (const [, file] of files) {
        assert.equal((await fetch(address + file)).status, 200, file);
      }
      for (const file of ["/node.js", "/../node.js", "/%2e%2e/node.js", "/package.json"]) {
        assert.equal((await fetch(address + file)).status, 404, file);
      }
    }
  });

  it("answers no page of another site, and no name that was made to point here", async () => {
    const address = chat.addresses["node-1"];
    const { host } = new URL(address);
    const handshake = `${address}/socket.io/?EIO=4&transport=polling`;
    const other = new URL(chat.addresses["node-2"]).port;
    for (const origin of [address, `http://localhost:${other}`, `http://127.0.0.1:${other}`]) {
      assert.equal(await statusOf(handshake, { host, origin }), 200, origin);
    }
    const foreign = ["http://evil.example", `http://evil.example:${other}`, "null", "file://"];
    for (const origin of [...foreign, "http://127.0.0.1:1", `https://127.0.0.1:${other}`]) {
      assert.equal(await statusOf(handshake, { host, origin }), 403, origin);
      assert.equal(await statusOf(address, { host, origin }), 403, origin);
      const client = chat.client("node-1", {}, { extraHeaders: { origin } });
      await assert.rejects(client, /websocket error/, origin);
    }
    const rebound = { host: `evil.example:${new URL(address).port}` };
    assert.equal(await statusOf(address, rebound), 403);
    assert.equal(await statusOf(handshake, rebound), 403);
  });

  it("refuses commands that make no sense", async () => {
    const client = await chat.client("node-1");
    /** @param {unknown[]} args */
    const answer = (...args) => client.socket.timeout(5_000).emitWithAck("command", ...args);
    const node = "node-2";
    assert.deepEqual(await answer({ action: "rm -rf", node }), {
      ok: false,
      error: "There is no such action",
    });
    for (const name of ["node-4", undefined, { toString: "no" }, "__proto__"]) {
      assert.deepEqual(await answer({ action: "kill", node: name }), {
        ok: false,
        error: "There is no such node",
      });
    }
    for (const command of [undefined, null, 5, "kill"]) {
      assert.equal((await answer(command)).ok, false, String(command));
    }
    client.socket.emit("command", { action: "kill", node }); // nobody to answer
    await answer(null);
    assert.doesNotMatch(chat.output, /died/);
    client.disconnect();
  });

  it("carries what is written on one node to all, and knows who is where", async () => {
    const clients = await Promise.all([
      chat.client("node-1", { name: "Ada" }),
      chat.client("node-2", { name: "Grace" }),
      chat.client("node-3"),
    ]);
    const [ada, grace] = clients;
    const [[welcome]] = await grace.receives("welcome");
    assert.deepEqual(welcome, { node: "node-2" });

    ada.socket.emit("message", "  hello  ");
    for (const client of clients) {
      const [[message]] = await client.receives("message");
      assert.deepEqual(
        { ...message, time: typeof message.time },
        { from: ada.id, name: "Ada", node: "node-1", text: "hello", time: "number" },
      );
    }

    const people = await grace.socket.timeout(5_000).emitWithAck("everybody");
    const places = people.map((/** @type {any} */ { name, node }) => `${name} ${node}`).sort();
    assert.deepEqual(places, ["Ada node-1", "Grace node-2", "Guest node-3"]);
    clients.forEach((client) => client.disconnect());
  });

  it("shrugs off what is no chat message", async () => {
    const client = await chat.client("node-1");
    client.socket.emit("message", { toString: "no" });
    client.socket.emit("message", "   ");
    client.socket.emit("message");
    client.socket.emit("name", 5);
    client.socket.emit("everybody", "no function");
    client.socket.emit("message", "still here");
    const [[message]] = await client.receives("message");
    assert.equal(message.text, "still here");
    client.disconnect();
  });

  it("gives a page that comes back, on another node, what it missed", async () => {
    const [ada, grace] = await Promise.all([
      chat.client("node-1", { name: "Ada" }),
      chat.client("node-2", { name: "Grace" }),
    ]);
    grace.socket.emit("message", "before");
    await ada.receives("message");
    ada.cut();
    await waitFor(
      () => grace.received("presence").some(([{ name, action }]) => name + action === "Adaleft"),
      { what: "the news that Ada left" },
    );
    grace.socket.emit("message", "meanwhile");
    await grace.receives("message", 2);

    await ada.reconnect(chat.addresses["node-3"]);
    assert.equal(ada.socket.recovered, true);
    const texts = (await ada.receives("message", 2)).map(([{ text }]) => text);
    assert.deepEqual(texts, ["before", "meanwhile"]);
    const [, [welcome]] = await ada.receives("welcome", 2);
    assert.deepEqual(welcome, { node: "node-3" });
    ada.disconnect();
    grace.disconnect();
  });

  it("says that a node died, goes on with the others, and starts it again", async () => {
    const address = chat.addresses["node-3"];
    const pid = chat.pidOf("node-3");
    process.kill(pid, "SIGKILL");
    await chat.says("node-3 died (SIGKILL)");
    const [ada, grace] = await Promise.all([chat.client("node-1"), chat.client("node-2")]);
    ada.socket.emit("message", "two are enough");
    await grace.receives("message");

    await waitFor(
      () =>
        fetch(address)
          .then(({ ok }) => ok)
          .catch(() => false),
      {
        what: "node-3 at its address",
        timeout: 15_000,
      },
    );
    assert.notEqual(chat.pidOf("node-3"), pid);
    const third = await chat.client("node-3");
    third.socket.emit("message", "three again");
    await grace.receives("message", 2);
    [ada, grace, third].forEach((client) => client.disconnect());
  });

  it("leaves no process behind after Ctrl-C, also with a client connected", async () => {
    const client = await chat.client("node-1");
    const redis = descendants(chat.pid).filter((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("redis-server"),
    );
    assert.equal(redis.length, 1, "the private Redis");
    await chat.interrupt();
    assert.doesNotMatch(chat.output, /node-[12] (died|did not close)/);
    client.disconnect();
  });
});

describe("npm start with REDIS_URL", { skip }, () => {
  /** @type {import("./helpers/redis-server").RedisServer} */
  let redis;

  before(async () => {
    redis = await startRedis({ password: "a-secret" });
  });

  after(() => redis.stop());

  it("uses that Redis, keeps its password to itself, passes over a port in use", async (t) => {
    const port = await freePort();
    const occupant = createServer().listen(port, "127.0.0.1");
    await once(occupant, "listening");
    const chat = await npmStart({ REDIS_URL: redis.url, PORT: String(port) });
    t.after(() => chat.kill());
    occupant.close();
    assert.notEqual(new URL(chat.addresses["node-1"]).port, String(port));
    assert.match(chat.output, new RegExp(`redis://:\\*\\*\\*@127.0.0.1:${redis.port}`));
    assert.doesNotMatch(chat.output, /a-secret/);

    const [ada, grace] = await Promise.all([chat.client("node-1"), chat.client("node-2")]);
    ada.socket.emit("message", "over yours");
    await grace.receives("message");
    const client = await createClient({ url: redis.url }).connect();
    assert.ok((await client.xLen("cluster-page")) > 0);
    await client.close();
    const command = { action: "restart-redis" };
    assert.deepEqual(await ada.socket.timeout(5_000).emitWithAck("command", command), {
      ok: false,
      error: "This Redis is not ours: it is not restarted",
    });
    ada.disconnect();
    grace.disconnect();

    // not the group: what `kill` or a process manager does
    const processes = descendants(chat.pid);
    process.kill(chat.pid, "SIGTERM");
    await chat.ended(processes);
    assert.ok(await redis.isReady(), "yours is left alone");
  });
});

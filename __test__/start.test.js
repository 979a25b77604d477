// `npm start` as a user runs it: three chat nodes over one Redis, and nothing left after Ctrl-C.

"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { readFileSync, readdirSync } = require("node:fs");
const { createServer } = require("node:http");
const { join } = require("node:path");
const { after, before, describe, it } = require("node:test");
const { createClient } = require("redis");
const { guard } = require("./helpers/guard");
const { freePort, startRedis } = require("./helpers/redis-server");
const { connectClient } = require("./helpers/socket-client");
const { once, waitFor, within } = require("./helpers/wait");

/** Setting up is part of `npm start`: it looks at the npm packages and at the engine's sources. */
const START_LIMIT = 60_000;
const NODES = ["node-1", "node-2", "node-3"];

/**
 * The processes below one, by /proc.
 *
 * @param {number} ancestor
 * @returns {number[]}
 */
function descendants(ancestor) {
  /** @type {Map<number, number>} */
  const parents = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      // The program's name, in parentheses, may hold anything; the parent is the second word after.
      const [, parent] = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/.*\) /s, "").split(" ");
      parents.set(Number(pid), Number(parent));
    } catch {
      // ended meanwhile
    }
  }
  const found = [ancestor];
  for (const each of found) {
    found.push(...[...parents].filter(([, parent]) => parent === each).map(([pid]) => pid));
  }
  return found.slice(1);
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

class Chat {
  /** @param {NodeJS.ProcessEnv} env */
  constructor(env) {
    const { REDIS_URL, HOST, ...inherited } = process.env;
    this.output = "";
    /** By the node's name, once started. @type {Record<string, string>} */
    this.addresses = {};
    // A group of its own, as a terminal makes for each command: Ctrl-C signals the whole of it.
    this.child = spawn("npm", ["start"], {
      cwd: join(__dirname, ".."),
      env: { ...inherited, PORT: "0", ...env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    this.release = guard(this.child);
    this.exited = new Promise((resolve) => this.child.once("exit", resolve));
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (this.output += text));
    }
  }

  get pid() {
    return /** @type {number} */ (this.child.pid);
  }

  /** Waits until it printed the addresses. */
  async started() {
    this.addresses = await waitFor(
      () => {
        assert.equal(this.child.exitCode, null, this.output);
        const found = [...this.output.matchAll(/^(node-\d) +(http:\/\/\S+)$/gm)];
        return found.length === NODES.length && Object.fromEntries(found.map((m) => m.slice(1)));
      },
      { timeout: START_LIMIT, what: () => `three addresses in:\n${this.output}` },
    );
    return this;
  }

  /** @param {string} words */
  async says(words) {
    await waitFor(() => this.output.includes(words), {
      what: () => `"${words}" in:\n${this.output}`,
    });
  }

  /**
   * @param {string} name of a node
   * @param {object} [auth]
   */
  client(name, auth) {
    return connectClient(this.addresses[name], { auth });
  }

  /** @param {string} name of a node */
  pidOf(name) {
    const pid = descendants(this.pid).find((candidate) =>
      readFileSync(`/proc/${candidate}/environ`, "utf8").split("\0").includes(`NODE_NAME=${name}`),
    );
    assert(pid, `no process of ${name}`);
    return pid;
  }

  /** Ends it as Ctrl-C does, and shows that nothing is left. */
  async interrupt() {
    const processes = descendants(this.pid);
    process.kill(-this.pid, "SIGINT");
    await this.ended(processes);
  }

  /** For a test that failed: ends whatever is left of it. */
  kill() {
    for (const pid of [...descendants(this.pid), -this.pid]) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // ended already
      }
    }
  }

  /** @param {number[]} processes that must be gone as well */
  async ended(processes) {
    await within(this.exited, `the end of npm start, which wrote:\n${this.output}`, 15_000);
    this.release();
    await waitFor(() => !processes.some(isAlive), {
      what: () => `the end of the processes ${processes.filter(isAlive)}`,
    });
  }
}

/** @param {NodeJS.ProcessEnv} [env] */
function startChat(env = {}) {
  return new Chat(env).started();
}

const skip = process.platform === "linux" ? false : "finds the processes in /proc";

describe("npm start", { skip }, () => {
  /** @type {Chat} */
  let chat;

  before(async () => {
    chat = await startChat();
  });

  after(() => chat?.kill());

  it("serves the page on each node", async () => {
    assert.equal(new Set(Object.values(chat.addresses)).size, NODES.length);
    for (const address of Object.values(chat.addresses)) {
      const page = await fetch(address);
      assert.equal(page.status, 200);
      assert.match(page.headers.get("content-type") ?? "", /^text\/html/);
      const [, script] = /<script src="([^"]+)">/.exec(await page.text()) ?? [];
      assert.equal((await fetch(address + script)).status, 200, "the client's script");
      assert.equal((await fetch(`${address}/server.js`)).status, 404);
    }
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

  it("says that a node died, and goes on with the others", async () => {
    process.kill(chat.pidOf("node-3"), "SIGKILL");
    await chat.says("node-3 died (SIGKILL)");
    const [ada, grace] = await Promise.all([chat.client("node-1"), chat.client("node-2")]);
    ada.socket.emit("message", "two are enough");
    await grace.receives("message");
    ada.disconnect();
    grace.disconnect();
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
    const chat = await startChat({ REDIS_URL: redis.url, PORT: String(port) });
    t.after(() => chat.kill());
    occupant.close();
    assert.notEqual(new URL(chat.addresses["node-1"]).port, String(port));
    assert.match(chat.output, new RegExp(`redis://:\\*\\*\\*@127.0.0.1:${redis.port}`));
    assert.doesNotMatch(chat.output, /a-secret/);

    const [ada, grace] = await Promise.all([chat.client("node-1"), chat.client("node-2")]);
    ada.socket.emit("message", "over yours");
    await grace.receives("message");
    const client = await createClient({ url: redis.url }).connect();
    assert.ok((await client.xLen("socket.io")) > 0);
    await client.close();
    ada.disconnect();
    grace.disconnect();

    // not the group: what `kill` or a process manager does
    const processes = descendants(chat.pid);
    process.kill(chat.pid, "SIGTERM");
    await chat.ended(processes);
    assert.ok(await redis.isReady(), "yours is left alone");
  });
});

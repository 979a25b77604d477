// README.md as users meet it: its JS blocks run, the rights that it lists are enough and none too
// many, its tables agree with the code, and what it names exists. The links of the other documents
// as well.
//
// A JS block is a whole program when it makes a `Server`. When it makes an `adapter`, the server is
// added, and what it does not import itself. Anything else is put behind a server that is called
// `io`.

"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const fs = require("node:fs");
const { createServer } = require("node:http");
const { tmpdir } = require("node:os");
const { dirname, join } = require("node:path");
const { after, before, describe, test } = require("node:test");
const { Server } = require("socket.io");

const { createAdapter } = require("..");
const { resolveOptions } = require("../lib/options");
const { makeCertificates, SERVER_NAME } = require("./connection/certificates");
const { startOpen } = require("./connection/servers");
const { createAdmin } = require("./helpers/clients");
const { guard } = require("./helpers/guard");
const { startRedisCluster } = require("./helpers/redis-cluster");
const { startRedisSentinel } = require("./helpers/redis-sentinel");
const { freePort } = require("./helpers/redis-server");
const { connectClient } = require("./helpers/socket-client");
const { waitFor, within } = require("./helpers/wait");

/** @typedef {import("./helpers/socket-client").SocketClient} SocketClient */

const ROOT = join(__dirname, "..");
const NAME = "socket.io-redis-streams-native";
const README = read("README.md");
const DOCUMENTS = [
  ...["README.md", "CONTRIBUTING.md", "CHANGELOG.md"],
  ...["docs/architecture.md", "docs/compatibility.md"],
];

/** @param {string} file */
function read(file) {
  return fs.readFileSync(join(ROOT, file), "utf8");
}

/**
 * @typedef {object} Block
 * @property {string} language
 * @property {string} code
 * @property {number} line where it starts
 */

/**
 * @param {string} markdown
 * @returns {Block[]}
 */
function fencedBlocks(markdown) {
  return [...markdown.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(
    ({ 1: language, 2: code, index }) => ({
      language,
      code,
      line: markdown.slice(0, index).split("\n").length,
    }),
  );
}

/** @param {string} language */
function blocksOf(language) {
  const blocks = fencedBlocks(README).filter((block) => block.language === language);
  assert.ok(blocks.length > 0, `README.md has ${language} blocks`);
  return blocks;
}

/**
 * @param {string} title of a section
 * @returns {string} its text up to the next title of the same level
 */
function section(title) {
  const [, text] = README.split(`\n## ${title}\n`);
  assert.ok(text, `README.md has the section "${title}"`);
  return text.split("\n## ")[0];
}

/**
 * @param {string} markdown
 * @returns {string[][]} the cells of each row of all its tables, without the rows above the lines
 */
function tableRows(markdown) {
  const rows = markdown.split("\n").filter((line) => line.startsWith("|"));
  const cells = rows.map((row) =>
    row
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim()),
  );
  const isLine = (/** @type {string[]} */ row) => /^:?-+:?$/.test(row[0]);
  return cells.filter((row, i) => !isLine(row) && !(cells[i + 1] && isLine(cells[i + 1])));
}

/** @param {string} cell */
function codeIn(cell) {
  const code = /`([^`]+)`/.exec(cell)?.[1];
  assert.ok(code, `there is code in "${cell}"`);
  return code;
}

// What runs needs a server, which also speaks TLS and listens on a unix socket.

/** @type {ReturnType<typeof makeCertificates>} */
let certificates;
/** @type {Awaited<ReturnType<typeof startOpen>>} */
let redis;
/** @type {Awaited<ReturnType<typeof createAdmin>>} */
let admin;

before(async () => {
  certificates = makeCertificates();
  redis = await startOpen(certificates);
  admin = await createAdmin(redis);
});

after(async () => {
  await admin?.close();
  await redis?.stop();
  certificates?.remove();
});

/** @typedef {import("node:test").TestContext} TestContext */

/**
 * A node in this process, which ends with the test.
 *
 * @param {TestContext} t
 * @param {any} adapter
 * @param {Record<string, any>} [options] of Socket.IO's `Server`
 */
async function startNode(t, adapter, options) {
  const http = createServer();
  const io = new Server(http, { adapter, ...options });
  t.after(() => io.close());
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (http.address());
  return { io, url: `http://127.0.0.1:${port}` };
}

/**
 * A client that ends with the test.
 *
 * @param {TestContext} t
 * @param {string} url
 */
async function connect(t, url) {
  const client = await connectClient(url);
  t.after(() => client.disconnect());
  return client;
}

/** @param {Server} io */
function adapterOf(io) {
  return /** @type {import("..").RedisStreamsAdapter} */ (
    /** @type {unknown} */ (io.of("/").adapter)
  );
}

describe("the JS blocks of README.md", () => {
  /** A project as a user has it. */
  let folder = "";
  const password = "secret";
  /** @type {Awaited<ReturnType<typeof startRedisCluster>>} */
  let cluster;
  /** @type {Awaited<ReturnType<typeof startRedisSentinel>>} */
  let sentinel;

  before(async () => {
    cluster = await startRedisCluster({ password });
    sentinel = await startRedisSentinel({ password, sentinelPassword: password });
  });

  after(() => Promise.all([cluster?.stop(), sentinel?.stop()]));

  /** For a node that shares its Redis with the server of a block. @param {string} code */
  function sharedWith(code) {
    if (/cluster/i.test(code)) {
      return { cluster: { nodes: [cluster.url] }, password };
    }
    return /sentinel/i.test(code)
      ? { sentinel: { name: sentinel.name, nodes: sentinel.nodes, password }, password }
      : redis.url;
  }

  before(() => {
    folder = fs.mkdtempSync(join(tmpdir(), "sio-readme-"));
    const modules = join(folder, "node_modules");
    fs.mkdirSync(modules);
    fs.symlinkSync(ROOT, join(modules, NAME));
    for (const name of ["socket.io", "redis", "ioredis", "iovalkey"]) {
      fs.symlinkSync(join(ROOT, "node_modules", name), join(modules, name));
    }
    fs.writeFileSync(join(folder, "ca.pem"), certificates.ca);
    return admin.command("ACL", "SETUSER", "chat", "on", ">secret", "~*", "&*", "+@all");
  });

  after(() => fs.rmSync(folder, { recursive: true, force: true }));

  const IMPORTS = {
    Server: 'import { Server } from "socket.io";',
    createAdapter: `import { createAdapter } from "${NAME}";`,
  };

  /**
   * @param {string} code
   * @returns {string} a whole program
   */
  function program(code) {
    let whole = code;
    if (!code.includes("new Server(")) {
      whole = code.includes("const adapter =")
        ? `${code}\nconst io = new Server(3000, { adapter });`
        : `const io = new Server(3000, { adapter: createAdapter("redis://localhost:6379") });\n${code}`;
    }
    const missing = Object.entries(IMPORTS).filter(
      ([name]) => !new RegExp(`import .*\\b${name}\\b`).test(code),
    );
    return [...missing.map(([, line]) => line), whole].join("\n");
  }

  /**
   * @param {string} code
   * @param {number} port of the HTTP server
   */
  function adapted(code, port) {
    const replacements = {
      "localhost:6379": `127.0.0.1:${redis.port}`,
      "port: 6379": `port: ${redis.port}`,
      "localhost:7001": `127.0.0.1:${cluster.ports[0]}`,
      "localhost:7002": `127.0.0.1:${cluster.ports[1]}`,
      "port: 7002": `port: ${cluster.ports[1]}`,
      "port: 26379": `port: ${sentinel.nodes[0].port}`,
      "10.0.0.5": "127.0.0.1",
      "port: 6380": `port: ${redis.tlsPort}`,
      "redis.example.com": SERVER_NAME,
      "/run/redis/redis.sock": redis.socketPath,
      3000: String(port),
    };
    return Object.entries(replacements).reduce(
      (text, [from, to]) => text.replaceAll(from, to),
      code,
    );
  }

  /**
   * @param {TestContext} t
   * @param {string} code
   */
  async function run(t, code) {
    const port = await freePort();
    const file = join(folder, `server-${port}.mjs`);
    fs.writeFileSync(file, adapted(program(code), port));
    const { PORT, ...env } = process.env; // a server of README.md would listen there
    const child = spawn(process.execPath, [file], { cwd: folder, env });
    const release = guard(child);
    const ended = once(child, "exit");
    t.after(async () => {
      child.kill("SIGKILL");
      await ended;
      release();
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (output += text));
    }
    const url = `http://127.0.0.1:${port}`;
    /** @type {SocketClient | undefined} */
    let client;
    await waitFor(
      async () => {
        assert.equal(child.exitCode, null, output);
        client = await connect(t, url).catch(() => undefined);
        return client;
      },
      { what: () => `a server at ${url}, which has said: ${output}` },
    );
    return {
      client: /** @type {SocketClient} */ (client),
      /** @returns {Promise<{ exitCode: number | null, output: string }>} */
      async end() {
        child.kill("SIGTERM");
        const [exitCode] = await within(ended, "the server's end");
        return { exitCode, output };
      },
    };
  }

  /** What a node with requests in the stream needs its neighbour to be. */
  const STREAM = /** @type {const} */ ({ requestsVia: "stream" });

  for (const { code, line } of blocksOf("js")) {
    test(`line ${line}: is a node that gets messages and answers requests`, async (t) => {
      const options = code.includes("requestsVia") ? STREAM : undefined;
      const { io } = await startNode(t, createAdapter(sharedWith(code), options));
      const server = await run(t, code);
      await waitFor(async () => (await adapterOf(io).serverCount()) === 2, {
        what: "two nodes to be counted",
      });
      io.emit("hello", line);
      const [[received]] = await server.client.receives("hello");
      assert.equal(received, line);
      const sockets = await io.timeout(2_000).fetchSockets();
      assert.deepEqual(
        sockets.map(({ id }) => id),
        [server.client.id],
      );
      const { exitCode, output } = await server.end();
      assert.doesNotMatch(output, /warning|error/i);
      if (code.includes("SIGTERM")) {
        assert.equal(exitCode, 0, "it ends by itself");
      }
    });
  }

  test("the first one carries a message from one server's client to another's", async (t) => {
    const [{ code }] = blocksOf("js");
    const { client: a } = await run(t, code);
    const { client: b } = await run(t, code);
    // The second server may not be reading yet when its client is connected.
    await waitFor(async () => {
      a.socket.emit("message", "from a");
      return b.received("message").length > 0;
    });
    b.socket.emit("message", "from b");
    await waitFor(() => a.received("message").some(([text]) => text === "from b"));
  });
});

describe("the rights that README.md lists", () => {
  const commands = blocksOf("redis").map(({ code }) => code.trim().split(/\s+/));
  const text = section("Rights of the Redis user");
  const extra = ["+select", "+client|setname"];
  /** How often the connections are cut. */
  const CUTS = 20;

  /** @type {Error[]} */
  const warnings = [];
  const onWarning = (/** @type {Error} */ warning) => warnings.push(warning);
  before(() => process.on("warning", onWarning));
  after(() => process.off("warning", onWarning));

  /**
   * Everything that an adapter can be asked for, a lost connection included.
   *
   * @param {TestContext} t
   * @param {() => any} adapter
   */
  async function everything(t, adapter) {
    const options = { connectionStateRecovery: {} };
    const nodes = [await startNode(t, adapter(), options), await startNode(t, adapter(), options)];
    const [{ io }, other] = nodes;
    const count = (/** @type {number} */ expected, nsp = "/") =>
      waitFor(async () => (await io.of(nsp).adapter.serverCount()) === expected, {
        what: `${expected} servers in ${nsp}`,
      });
    await count(2);
    const client = await connect(t, other.url);
    client.socket.on("ask", (answer) => answer("yes"));
    other.io.on("ask", (/** @type {any} */ answer) => answer("yes"));

    for (let i = 0; i < 10; i++) {
      io.emit("batch", i);
    }
    io.socketsJoin("room");
    io.to("room").emit("binary", Buffer.from([1]));
    await client.receives("binary");
    assert.equal((await io.timeout(2_000).fetchSockets()).length, 1);
    assert.deepEqual(await io.timeout(2_000).emitWithAck("ask"), ["yes"]);
    assert.deepEqual(await io.serverSideEmitWithAck("ask"), ["yes"]);

    nodes.forEach((node) => node.io.of("/more"));
    await count(2, "/more");
    await other.io.of("/more").adapter.close();
    await count(1, "/more");

    client.cut();
    await waitFor(() => other.io.of("/").sockets.size === 0);
    io.emit("missed");
    await client.reconnect(nodes[0].url);
    assert.equal(client.socket.recovered, true);
    await client.receives("missed");

    for (let cut = 0; cut < CUTS; cut++) {
      const packets = client.received("cut").length + 50;
      for (let i = 0; i < 50; i++) {
        other.io.emit("cut", i);
        if (i === 25) {
          await admin.command("CLIENT", "KILL", "TYPE", "normal", "USER", "chat");
        }
      }
      await client.receives("cut", packets);
    }
    return nodes.map((node) => adapterOf(node.io).stats());
  }

  /** How often each command was called, by its name in ACL rules, but for this test's own calls. */
  async function calls() {
    const stats = await admin.command("INFO", "commandstats");
    const counts = new Map(
      [...stats.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm)].map(([, name, n]) => [name, Number(n)]),
    );
    counts.set("client|kill", (counts.get("client|kill") ?? 0) - CUTS);
    return counts;
  }

  test("there are two users", () => {
    assert.deepEqual(
      commands.map(([acl, setuser, user]) => [acl, setuser, user]),
      Array(2).fill(["ACL", "SETUSER", "chat"]),
    );
    extra.forEach((right) => assert.ok(text.includes(`\`${right}\``), right));
  });

  for (const [i, useShardedPubSub] of [false, true].entries()) {
    for (const more of [[], extra]) {
      const title = `${useShardedPubSub ? "sharded" : "classic"} PUB/SUB, ${more.join(" ") || "defaults"}`;
      test(`are enough, and none is too many: ${title}`, async (t) => {
        const [, , user, ...rules] = commands[i];
        await admin.command("ACL", "SETUSER", user, "reset", ...rules, ...more);
        await admin.command("ACL", "LOG", "RESET");
        await admin.command("CONFIG", "RESETSTAT");
        warnings.length = 0;
        const { host, port } = redis;
        const settings = { host, port, username: user, password: "secret" };
        const further = more.length > 0 ? { database: 2, clientName: "chat" } : {};
        // Without a history, what a client has missed is read from Redis.
        const options = { useShardedPubSub, historyBytes: 0, blockTimeInMs: 200 };
        const stats = await everything(t, () =>
          createAdapter({ ...settings, ...further }, options),
        );

        assert.deepEqual(await admin.command("ACL", "LOG"), [], "nothing was denied");
        const said = warnings.filter(
          (warning) => /** @type {any} */ (warning).code !== "ERR_SIO_REDIS_CONNECTION",
        );
        assert.deepEqual(said, []);
        assert.equal(stats[0].doubtful + stats[1].doubtful, 0);

        const granted = [...rules, ...more].filter((rule) => rule.startsWith("+"));
        const called = await calls();
        const unused = granted.filter((rule) => (called.get(rule.slice(1)) ?? 0) <= 0);
        assert.deepEqual(unused, [], "rights that nothing needs");
      });
    }
  }
});

describe("the tables of README.md", () => {
  /** @param {string} title */
  const rowsOf = (title) => tableRows(section(title));

  test("list every option and its default", () => {
    const listed = rowsOf("Options").map(([name, value]) => [
      codeIn(name),
      JSON.parse(codeIn(value).replaceAll("_", "")),
    ]);
    const defaults = resolveOptions({}, { warn: assert.fail });
    assert.deepEqual(Object.fromEntries(listed), defaults);
  });

  test("mark the options that upstream does not have", () => {
    const upstreams = fs.readFileSync(
      require.resolve("@socket.io/redis-streams-adapter/dist/adapter.d.ts"),
      "utf8",
    );
    const heartbeat = /^heartbeat/; // inherited from socket.io-adapter
    for (const [name, , meaning] of rowsOf("Options")) {
      const isUpstreams = upstreams.includes(`${codeIn(name)}?:`) || heartbeat.test(codeIn(name));
      assert.equal(meaning.startsWith("**ours**"), !isUpstreams, name);
    }
  });

  test("list every setting", () => {
    const listed = tableRows(section("Redis clients"))
      .map(([names]) => [...names.matchAll(/`(\w+)`/g)].map(([, name]) => name))
      .flat();
    // An unknown setting is answered with the list of all.
    assert.throws(
      () => createAdapter({ unknown: true }),
      (/** @type {Error} */ error) => {
        const [, all] = error.message.split("there are ");
        all.split(", ").forEach((name) => assert.ok(listed.includes(name), name));
        return true;
      },
    );
  });

  test("list every code, and no other", () => {
    const sources = fs
      .readdirSync(join(ROOT, "lib"), { recursive: true })
      .map((file) => join("lib", String(file)))
      .filter((file) => file.endsWith(".js"));
    const inCode = [join("src", "engine", "error.rs"), "metrics.js", ...sources]
      .flatMap((file) => read(file).match(/\b(?:ERR_)?SIO_REDIS_[A-Z_]+\b/g) ?? [])
      .sort();
    const listed = rowsOf("Warnings and errors").map(([code]) => codeIn(code));
    assert.deepEqual([...listed].sort(), [...new Set(inCode)]);
  });

  test("list every counter, and no other", async (t) => {
    const { io } = await startNode(t, createAdapter(redis.url));
    const adapter = adapterOf(io);
    const isWhole = (/** @type {any} */ { position, lagEntries }) =>
      position !== undefined && lagEntries !== undefined;
    await waitFor(() => isWhole(adapter.stats()), { what: "the first read and the first look" });
    const listed = rowsOf("Counters").map(([name]) => codeIn(name));
    assert.deepEqual(listed.sort(), Object.keys(adapter.stats()).sort());
  });
});

test("with requests in the stream there is one connection less, and no subscription", async (t) => {
  const settings = { url: redis.url, clientName: "without" };
  const adapter = createAdapter(settings, { requestsVia: "stream", streamName: "without" });
  const { io } = await startNode(t, adapter);
  await io.fetchSockets();
  const list = await admin.command("CLIENT", "LIST");
  const own = list.split("\n").filter((/** @type {string} */ line) => / name=without /.test(line));
  assert.equal(own.length, 2);
  assert.ok(own.every((/** @type {string} */ line) => / sub=0 psub=0 /.test(line)));
});

test("the number of connections is what README.md says", async (t) => {
  assert.match(section("Redis clients"), /three or four/);
  const adapter = createAdapter({ url: redis.url, clientName: "counted" });
  const { io, url } = await startNode(t, adapter, { connectionStateRecovery: {} });
  const connections = async () => {
    const list = await admin.command("CLIENT", "LIST");
    return list.split(" name=counted ").length - 1;
  };
  await waitFor(async () => (await connections()) === 3, { what: "three connections" });
  const client = await connect(t, url);
  io.emit("hello");
  await client.receives("hello");
  assert.equal(await connections(), 3, "none more for publishing");
  client.cut();
  await waitFor(async () => (await connections()) === 4, { what: "the one for sessions" });
});

test("what README.md says to be tested is what the last run has passed on", () => {
  const [heads, ...rows] = read("docs/compatibility.md")
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) => line.split("|").map((cell) => cell.trim()));
  const servers = heads.slice(2, -1);
  const tested = servers.map((title) => title.split(" ")[1]).sort();
  const [, sentence] =
    /The parity suite passes on (Redis .*?), each/.exec(section("Compatibility")) ?? [];
  assert.deepEqual(sentence?.match(/\d+\.\d+\.\d+/g)?.sort(), tested);
  const cells = rows.slice(1).flatMap((row) => row.slice(2, -1));
  assert.deepEqual(
    cells.filter((cell) => !/^(\d+ \/ \d+( \(proxy\))?|not applicable)$/.test(cell)),
    [],
  );
});

describe("what the documents name exists", () => {
  /** @param {string} heading */
  const anchor = (heading) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-");

  for (const document of DOCUMENTS) {
    test(document, () => {
      const markdown = read(document);
      const withoutBlocks = markdown.replace(/^```.*?^```$/gms, "");
      const anchors = [...withoutBlocks.matchAll(/^#+ (.+)$/gm)].map(([, text]) => anchor(text));

      for (const [, target] of withoutBlocks.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (target.startsWith("#")) {
          assert.ok(anchors.includes(target.slice(1)), `the section ${target}`);
        } else if (!/^https?:/.test(target)) {
          const path = join(ROOT, dirname(document), target.split("#")[0]);
          assert.ok(fs.existsSync(path), `the target ${target}`);
        }
      }
      for (const [, path] of withoutBlocks.matchAll(
        /`((?:__test__|src|lib|scripts|examples|docs|npm|bench|fuzz)\/[\w./-]*)`/g,
      )) {
        assert.ok(fs.existsSync(join(ROOT, path)), `the file ${path}`);
      }
    });
  }
});

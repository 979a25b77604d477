// The tables of the documents agree with the code, and so do the numbers of connections and the
// versions that they name.

"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { join } = require("node:path");
const { describe, test } = require("node:test");

const { createAdapter } = require("../..");
const definitions = require("../../lib/metrics/definitions");
const { resolveOptions } = require("../../lib/options");
const { waitFor } = require("../helpers/wait");
const { ROOT, codeIn, read, section, tableRows } = require("./markdown");
const { adapterOf, connect, startNode, useOpenRedis } = require("./nodes");

const context = useOpenRedis();

describe("the tables of the documents", () => {
  /** @param {string} title */
  const rowsOfMonitoring = (title) => tableRows(section("docs/monitoring.md", title));

  test("list every option and its default", () => {
    const listed = tableRows(read("docs/options.md")).map(([name, value]) => [
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
    for (const [name, , meaning] of tableRows(read("docs/options.md"))) {
      const isUpstreams = upstreams.includes(`${codeIn(name)}?:`) || heartbeat.test(codeIn(name));
      assert.equal(meaning.startsWith("**ours**"), !isUpstreams, name);
    }
  });

  test("list every setting", () => {
    const listed = tableRows(read("docs/clients.md"))
      .map(([names]) => [...names.matchAll(/`(\w+)`/g)].map(([, name]) => name))
      .flat();
    // An unknown setting is answered with the list of all.
    assert.throws(
      () => createAdapter(/** @type {any} */ ({ unknown: true })),
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
    const inCode = [join("src", "engine", "error", "mod.rs"), "metrics.js", ...sources]
      .flatMap((file) => read(file).match(/\b(?:ERR_)?SIO_REDIS_[A-Z_]+\b/g) ?? [])
      .sort();
    const listed = rowsOfMonitoring("Warnings and errors").map(([code]) => codeIn(code));
    assert.deepEqual([...listed].sort(), [...new Set(inCode)]);
    const [, type] = /type ErrorCode =(.*?);/s.exec(read("index.d.ts")) ?? [];
    assert.deepEqual(
      type.match(/ERR_SIO_REDIS_\w+/g)?.sort(),
      [...listed].filter((code) => code.startsWith("ERR_")).sort(),
    );
  });

  test("list every metric, and no other", () => {
    const { COUNTERS, HISTOGRAMS, SERVER_GAUGES, STREAM_GAUGES } = definitions;
    const types = Object.entries({
      counter: COUNTERS,
      histogram: HISTOGRAMS,
      gauge: [...SERVER_GAUGES, ...STREAM_GAUGES],
    });
    const listed = rowsOfMonitoring("Prometheus").map(([name, type]) => [codeIn(name), type]);
    const defined = types.flatMap(([type, metrics]) => metrics.map(({ name }) => [name, type]));
    assert.deepEqual(listed, defined);
    const watched = rowsOfMonitoring("What to watch").flatMap(
      ([names]) => names.match(/\w+/g) ?? [],
    );
    const known = defined.map(([name]) => name);
    assert.deepEqual(
      watched.filter((name) => name !== "beside" && !known.includes(name)),
      [],
      "what is to be watched is a metric",
    );
  });

  test("list every counter, and no other", async (t) => {
    const { io } = await startNode(t, createAdapter(context.redis.url));
    const adapter = adapterOf(io);
    const isWhole = (/** @type {any} */ { position, lagEntries }) =>
      position !== undefined && lagEntries !== undefined;
    await waitFor(() => isWhole(adapter.stats()), { what: "the first read and the first look" });
    const listed = rowsOfMonitoring("Counters").map(([name]) => codeIn(name));
    assert.deepEqual(listed.sort(), Object.keys(adapter.stats()).sort());
  });
});

describe("the number of connections is what docs/clients.md says", () => {
  /** @param {string} name */
  async function connectionsOf(name) {
    const list = /** @type {string} */ (await context.admin.command("CLIENT", "LIST"));
    return list.split("\n").filter((line) => line.includes(` name=${name} `));
  }

  test("three or four", async (t) => {
    assert.match(section("docs/clients.md", "How many connections"), /three or four/);
    // Records of connected clients would need the connection for sessions at any time.
    const settings = { url: context.redis.url, clientName: "counted" };
    const adapter = createAdapter(settings, { liveSessions: false });
    const { io, url } = await startNode(t, adapter, { connectionStateRecovery: {} });
    const count = async () => (await connectionsOf("counted")).length;
    await waitFor(async () => (await count()) === 3, { what: "three connections" });
    const client = await connect(t, url);
    io.emit("hello");
    await client.receives("hello");
    assert.equal(await count(), 3, "none more for publishing");
    client.cut();
    await waitFor(async () => (await count()) === 4, { what: "the one for sessions" });
  });

  test("with requests in the stream there is one less, and no subscription", async (t) => {
    const settings = { url: context.redis.url, clientName: "without" };
    const adapter = createAdapter(settings, { requestsVia: "stream", streamName: "without" });
    const { io } = await startNode(t, adapter);
    await io.fetchSockets();
    const own = await connectionsOf("without");
    assert.equal(own.length, 2);
    assert.ok(own.every((line) => / sub=0 psub=0 /.test(line)));
  });
});

test("what docs/compatibility.md says to be tested is what the last run has passed on", () => {
  const document = read("docs/compatibility.md");
  const [heads, ...rows] = document
    .split(/<!-- \/?servers -->/)[1]
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) => line.split("|").map((cell) => cell.trim()));
  const servers = heads.slice(2, -1);
  const tested = servers.map((title) => title.split(" ")[1]).sort();
  const [, sentence] = /The parity suite passes on (Redis .*?), each/.exec(document) ?? [];
  assert.deepEqual(sentence?.match(/\d+\.\d+\.\d+/g)?.sort(), tested);
  const cells = rows.slice(1).flatMap((row) => row.slice(2, -1));
  assert.deepEqual(
    cells.filter((cell) => !/^(\d+ \/ \d+( \(proxy\))?|not applicable)$/.test(cell)),
    [],
  );
});

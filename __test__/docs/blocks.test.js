// The JS blocks of all documents run, as their readers would have them.
//
// A block is a whole program when it makes a `Server`. When it makes an `adapter`, the server is
// added, and what it does not import itself. One with an `emitter` is a program that emits and ends,
// one with `node:test` is a test that passes. Anything else is put behind a server that is called `io`.

"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");

const { createAdapter } = require("../..");
const { startRedisCluster } = require("../helpers/redis-cluster");
const { startRedisSentinel } = require("../helpers/redis-sentinel");
const { waitFor, within } = require("../helpers/wait");
const { entriesAfter, lastEntryId } = require("../helpers/wire");
const { allBlocks, blocksOf, read } = require("./markdown");
const { adapterOf, connect, startNode, useOpenRedis } = require("./nodes");
const { isEmitting, isTest, makeProject } = require("./project");

const PASSWORD = "secret";

const context = useOpenRedis();
/** @type {Awaited<ReturnType<typeof startRedisCluster>>} */
let cluster;
/** @type {Awaited<ReturnType<typeof startRedisSentinel>>} */
let sentinel;
/** @type {ReturnType<typeof makeProject>} */
let project;

before(async () => {
  cluster = await startRedisCluster({ password: PASSWORD });
  sentinel = await startRedisSentinel({ password: PASSWORD, sentinelPassword: PASSWORD });
  project = makeProject({ ...context, cluster, sentinel });
  const chat = ["chat", "on", `>${PASSWORD}`, "~*", "&*", "+@all"];
  await context.admin.command("ACL", "SETUSER", ...chat);
});

after(async () => {
  project?.remove();
  await Promise.all([cluster?.stop(), sentinel?.stop()]);
});

/** For a node that shares its Redis with the program of a block. @param {string} code */
function sharedWith(code) {
  if (/cluster: {|Cluster\(/.test(code)) {
    return { cluster: { nodes: [cluster.url] }, password: PASSWORD };
  }
  return /sentinel: {/.test(code)
    ? {
        sentinel: { name: sentinel.name, nodes: sentinel.nodes, password: PASSWORD },
        password: PASSWORD,
      }
    : context.redis.url;
}

/** Options on which all nodes have to agree. @param {string} code */
function optionsBeside(code) {
  const names = /(streamName|channelPrefix|sessionKeyPrefix|requestsVia): "([^"]+)"/g;
  return Object.fromEntries([...code.matchAll(names)].map(([, name, value]) => [name, value]));
}

describe("the JS blocks of the documents", () => {
  const isServer = (/** @type {string} */ code) => !isEmitting(code) && !isTest(code);
  for (const { document, code, line } of allBlocks("js").filter(({ code }) => isServer(code))) {
    test(`${document}:${line} is a node that gets messages and answers requests`, async (t) => {
      const { io } = await startNode(t, createAdapter(sharedWith(code), optionsBeside(code)));
      const server = await project.serve(t, code);
      const client = await server.connect();
      await waitFor(async () => (await adapterOf(io).serverCount()) === 2, {
        what: "two nodes to be counted",
      });
      io.emit("hello", line);
      const [[received]] = await client.receives("hello");
      assert.equal(received, line);
      const sockets = await io.timeout(2_000).fetchSockets();
      assert.deepEqual(
        sockets.map(({ id }) => id),
        [client.id],
      );
      const { exitCode, output } = await server.end();
      assert.doesNotMatch(output, /warning|error/i);
      if (code.includes("SIGTERM")) {
        assert.equal(exitCode, 0, "it ends by itself");
      }
    });
  }

  for (const { document, code, line } of allBlocks("js").filter(({ code }) => isEmitting(code))) {
    test(`${document}:${line} emits what its text says, and ends by itself`, async (t) => {
      const before = await lastEntryId(context.admin, "socket.io");
      const state = await project.run(t, code);
      const [exitCode] = await within(state.ended, "the program's end");
      assert.equal(exitCode, 0, state.output);
      assert.doesNotMatch(state.output, /warning|error/i);
      const entries = await entriesAfter(context.admin, "socket.io", before);
      const emits = code.match(/\.(emit|serverSideEmit|sockets\w+|disconnectSockets)\(/g) ?? [];
      assert.equal(entries.filter(({ fields }) => fields.uid === "emitter").length, emits.length);
    });
  }

  for (const { document, code, line } of allBlocks("js").filter(({ code }) => isTest(code))) {
    test(`${document}:${line} is a test that passes, and ends by itself`, async (t) => {
      const state = await project.run(t, code);
      const [exitCode] = await within(state.ended, "the test's end");
      assert.equal(exitCode, 0, state.output);
      assert.doesNotMatch(state.output, /warning/i);
    });
  }

  test("docs/operations.md keeps two applications on one Redis apart", async (t) => {
    const [block] = blocksOf("docs/operations.md").filter(({ code }) => /channelPrefix/.test(code));
    const other = await startNode(t, createAdapter(context.redis.url));
    const otherClient = await connect(t, other.url);
    const server = await project.serve(t, block.code);
    const client = await server.connect();
    const { io } = await startNode(t, createAdapter(context.redis.url, optionsBeside(block.code)));
    await waitFor(async () => (await adapterOf(io).serverCount()) === 2, {
      what: "two nodes of one application",
    });
    assert.equal(await adapterOf(other.io).serverCount(), 1);
    other.io.emit("theirs");
    io.emit("ours");
    await client.receives("ours");
    await otherClient.receives("theirs");
    const sockets = await other.io.timeout(2_000).fetchSockets();
    assert.deepEqual(
      sockets.map(({ id }) => id),
      [otherClient.id],
    );
    assert.deepEqual([client.received("theirs"), otherClient.received("ours")], [[], []]);
  });

  test("the endpoint of docs/monitoring.md serves the metrics, and nothing else", async (t) => {
    const [block] = blocksOf("docs/monitoring.md").filter(({ code }) => /9464/.test(code));
    const server = await project.serve(t, block.code);
    await server.connect();
    const { metricsUrl } = server.state;
    const response = await fetch(`${metricsUrl}/metrics`);
    assert.match(response.headers.get("content-type") ?? "", /^text\/plain/);
    const text = await response.text();
    assert.match(text, /^socketio_redis_streams_members 1$/m);
    assert.match(text, /^process_cpu_user_seconds_total /m);
    assert.equal((await fetch(metricsUrl)).status, 404);
  });

  test("the command of docs/troubleshooting.md shows the last packet", async (t) => {
    const [, command] = /`redis-cli (XREVRANGE [^`]+)`/.exec(read("docs/troubleshooting.md")) ?? [];
    const words = /** @type {[string]} */ (command?.split(" "));
    const { io } = await startNode(t, createAdapter(context.redis.url));
    io.emit("hello");
    await waitFor(
      async () => String((await context.admin.command(...words))[0]).includes("hello"),
      { what: "the packet" },
    );
  });

  test("the debug output that docs/monitoring.md asks for shows connections", async (t) => {
    const [, DEBUG] = /^DEBUG=(\S+) node server.mjs$/m.exec(read("docs/monitoring.md")) ?? [];
    assert.ok(DEBUG, "what to ask for");
    const [{ code }] = allBlocks("js");
    const { state } = await project.serve(t, code, { DEBUG });
    await waitFor(() => /reader of socket\.io: connected/.test(state.output), {
      what: () => `lines of the adapter, not ${state.output}`,
    });
  });
});

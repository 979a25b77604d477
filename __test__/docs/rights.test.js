// The permissions that docs/operations.md lists are enough, and none is too many.

"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");

const { createAdapter } = require("../..");
const { waitFor } = require("../helpers/wait");
const { blocksOf, section } = require("./markdown");
const { adapterOf, connect, startNode, useOpenRedis } = require("./nodes");

/** @typedef {import("node:test").TestContext} TestContext */

const context = useOpenRedis();

/** A new user's connections are ended, and come back. */
const OUTAGE = ["ERR_SIO_REDIS_CONNECTION", "SIO_REDIS_WORKS_AGAIN"];

describe("the permissions that docs/operations.md lists", () => {
  const commands = blocksOf("docs/operations.md")
    .filter(({ language }) => language === "redis")
    .map(({ code }) => code.trim().split(/\s+/));
  const text = section("docs/operations.md", "Permissions of the Redis user");
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
          await context.admin.command("CLIENT", "KILL", "TYPE", "normal", "USER", "chat");
        }
      }
      await client.receives("cut", packets);
    }
    return nodes.map((node) => adapterOf(node.io).stats());
  }

  /** How often each command was called, by its name in ACL rules, but for this test's own calls. */
  async function calls() {
    const stats = await context.admin.command("INFO", "commandstats");
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
    extra.forEach((rule) => assert.ok(text.includes(`\`${rule}\``), rule));
  });

  for (const [i, useShardedPubSub] of [false, true].entries()) {
    for (const more of [[], extra]) {
      const title = `${useShardedPubSub ? "sharded" : "classic"} PUB/SUB, ${more.join(" ") || "defaults"}`;
      test(`are enough, and none is too many: ${title}`, async (t) => {
        const [, , user, ...rules] = commands[i];
        await context.admin.command("ACL", "SETUSER", user, "reset", ...rules, ...more);
        await context.admin.command("ACL", "LOG", "RESET");
        await context.admin.command("CONFIG", "RESETSTAT");
        warnings.length = 0;
        const { host, port } = context.redis;
        const settings = { host, port, username: user, password: "secret" };
        const further = more.length > 0 ? { database: 2, clientName: "chat" } : {};
        // Without a history, what a client has missed is read from Redis.
        // The channels are said to be this application's, so that nothing is warned of.
        const channelPrefix = "socket.io";
        const options = { useShardedPubSub, historyBytes: 0, blockTimeInMs: 200, channelPrefix };
        const stats = await everything(t, () =>
          createAdapter({ ...settings, ...further }, options),
        );

        assert.deepEqual(await context.admin.command("ACL", "LOG"), [], "nothing was denied");
        const said = warnings.filter(
          (warning) => !OUTAGE.includes(/** @type {any} */ (warning).code),
        );
        assert.deepEqual(said, []);
        assert.equal(stats[0].doubtful + stats[1].doubtful, 0);

        const granted = [...rules, ...more].filter((rule) => rule.startsWith("+"));
        const called = await calls();
        const unused = granted.filter((rule) => (called.get(rule.slice(1)) ?? 0) <= 0);
        assert.deepEqual(unused, [], "permissions that nothing needs");
      });
    }
  }
});

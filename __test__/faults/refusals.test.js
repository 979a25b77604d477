// A Redis that refuses: said once per cause, local clients still get their packets, and the cluster
// works again when the cause is gone, without a restart of the node.

"use strict";

const assert = require("node:assert/strict");
const { createServer } = require("node:http");
const { before, describe, test } = require("node:test");
const { useRedis } = require("../helpers/cluster");
const { createAdmin } = require("../helpers/clients");
const { startNode } = require("../helpers/node");
const { freePort, RedisServer, startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { once, settle, waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const {
  OPTIONS,
  OUTAGE,
  REPETITION,
  SECRET,
  WITH_OBSERVER,
  assertCourse,
  startPair,
} = require("./refused-pair");
const { EVENT, Traffic } = require("./traffic");
const { takeWarnings, warnings } = require("./warnings");

const context = useRedis({ args: WITH_OBSERVER });

describe("what an ACL forbids is reported once, and works again once it is permitted", () => {
  /** @param {...string} rules */
  const setUser = (...rules) => context.admin.command("ACL", "SETUSER", "app", ...rules);
  const course = () => ({
    port: context.redis.port,
    user: `app:${SECRET}`,
    code: "ERR_SIO_REDIS_NOPERM",
  });

  before(() => setUser("on", `>${SECRET}`, "~*", "&*", "+@all"));

  test("no right to XADD", (t) =>
    assertCourse(t, {
      ...course(),
      refuse: () => setUser("-xadd"),
      permit: () => setUser("+xadd"),
      mentions: [/XADD/, /`socket\.io`/, /NOPERM/, /grant/],
    }));

  test("no right to XREAD", (t) =>
    assertCourse(t, {
      ...course(),
      refuse: () => setUser("-xread"),
      permit: () => setUser("+xread"),
      mentions: [/XREAD/, /`socket\.io`/, /NOPERM/, /grant/],
    }));

  test("no right to the stream's key", (t) =>
    assertCourse(t, {
      ...course(),
      refuse: () => setUser("resetkeys", "~other:*"),
      permit: () => setUser("~*"),
      mentions: [/`socket\.io`/, /NOPERM/, /grant/],
      command: /refused X[A-Z]+/,
    }));

  test("no right to the channels", (t) =>
    assertCourse(t, {
      ...course(),
      refuse: () => setUser("resetchannels"),
      permit: () => setUser("&*"),
      mentions: [/`socket\.io#/, /NOPERM/, /grant/],
      command: /refused (SUBSCRIBE|PUBLISH)/,
    }));

  test("no right to MULTI", (t) =>
    assertCourse(t, {
      ...course(),
      refuse: () => setUser("-multi"),
      permit: () => setUser("+multi"),
      mentions: [/multi/i, /`socket\.io`/, /NOPERM/, /grant/],
    }));

  // Breaks when requests need PUBSUB where all nodes are of our kind: heartbeats tell who is there.
  test("no right to PUBSUB", async (t) => {
    await setUser("-pubsub");
    defer(t, () => setUser("+pubsub"));
    const pair = await startPair(t, { port: context.redis.port, user: `app:${SECRET}` });
    await pair.assertRequestsAgain();
    await pair.assertOneWarning("ERR_SIO_REDIS_NOPERM", [/PUBSUB/, /NOPERM/, /grant/]);
    await pair.assertDeliversAgain();
  });

  // Breaks when a batch whose MULTI was refused counts as not written, though Redis ran its XADDs:
  // the sequences are used again, and readers drop what comes next as doubles.
  test("no right to MULTI: what is written alone still reaches everyone, once", async (t) => {
    await setUser("-multi");
    defer(t, () => setUser("+multi"));
    const pair = await startPair(t, { port: context.redis.port, user: `app:${SECRET}` });
    const { traffic, local, remote } = pair;
    traffic.emit(); // connects the writer
    await local.receives(EVENT);
    /** @type {number[]} */
    const alone = [];
    for (let round = 1; round <= 3; round++) {
      for (let i = 0; i < 5; i++) {
        traffic.emit(); // the first one may go alone
      }
      await traffic.assertComplete();
      for (let i = 0; i < 6; i++) {
        alone.push(traffic.counts[0]);
        traffic.emit();
        await traffic.assertComplete();
      }
    }
    const numbers = () => remote.received(EVENT).map(([, number]) => number);
    await waitFor(() => alone.every((number) => numbers().includes(number)), {
      what: () => `the packets ${alone} at the other node, not only ${numbers()}`,
    });
    await settle();
    const sorted = [...new Set(numbers())].sort((x, y) => x - y);
    assert.deepEqual(numbers(), sorted, "in order, and once");
    await traffic.assertComplete();
  });
});

describe("wrong credentials are reported once, and all works again with the right ones", () => {
  /** Has the node make its connections again, or it would stay in with what it has. */
  const killOf = (/** @type {string} */ user) =>
    context.admin.command("CLIENT", "KILL", "USER", user);

  test("a wrong password", (t) =>
    assertCourse(t, {
      port: context.redis.port,
      user: `visitor:${SECRET}`,
      async refuse() {
        await context.admin.command("ACL", "SETUSER", "visitor", "reset", "on", ">another");
        await killOf("visitor");
      },
      permit: () =>
        context.admin.command("ACL", "SETUSER", "visitor", `>${SECRET}`, "~*", "&*", "+@all"),
      code: "ERR_SIO_REDIS_AUTH",
      mentions: [/127\.0\.0\.1:\d+/, /`password`/],
    }));

  test("no password where one is needed", (t) =>
    assertCourse(t, {
      port: context.redis.port,
      async refuse() {
        await context.admin.command("CONFIG", "SET", "requirepass", SECRET);
        await killOf("default"); // the admin's own stays
      },
      permit: () => context.admin.command("CONFIG", "SET", "requirepass", ""),
      code: "ERR_SIO_REDIS_AUTH",
      mentions: [/127\.0\.0\.1:\d+/, /`password`/],
    }));
});

describe("a state of the server that refuses writes is reported once, and ends", () => {
  test("the stream's key holds something else", (t) =>
    assertCourse(t, {
      port: context.redis.port,
      refuse: () => context.admin.command("SET", "socket.io", "no stream"),
      permit: () => context.admin.command("DEL", "socket.io"),
      code: "ERR_SIO_REDIS_WRONGTYPE",
      mentions: [/`socket\.io`/, /`streamName`/, /WRONGTYPE/],
    }));

  test("the stream's IDs are exhausted", (t) =>
    assertCourse(t, {
      port: context.redis.port,
      refuse: () => {
        const highest = "18446744073709551615-18446744073709551615";
        return context.admin.command("XADD", "socket.io", highest, "uid", "somebody");
      },
      permit: () => context.admin.command("DEL", "socket.io"),
      code: "ERR_SIO_REDIS_REFUSED",
      mentions: [/XADD/, /`socket\.io`/, /highest ID/, /`streamName`/],
    }));

  test("maxmemory is reached", (t) =>
    assertCourse(t, {
      port: context.redis.port,
      refuse: () => context.admin.command("CONFIG", "SET", "maxmemory", 1),
      permit: () => context.admin.command("CONFIG", "SET", "maxmemory", 0),
      code: "ERR_SIO_REDIS_OOM",
      mentions: [/XADD/, /`socket\.io`/, /`maxmemory`/, /`maxLen`/],
    }));
});

// Breaks as `assertCourse` does; the cause goes with a restart here.
describe("commands that the server does not know are reported once", () => {
  /** @param {string[]} commands */
  const without = (commands) => commands.flatMap((name) => ["--rename-command", name, ""]);

  for (const commands of [["XADD"], ["XADD", "XREAD", "XRANGE", "XREVRANGE"]]) {
    test(`${commands}`, async (t) => {
      const redis = await startRedis({ args: [...WITH_OBSERVER, ...without(commands)] });
      defer(t, () => redis.stop());
      const pair = await startPair(t, { port: redis.port });
      await pair.assertLocalDelivery();
      await pair.assertOneWarning(
        "ERR_SIO_REDIS_UNSUPPORTED",
        [/`socket\.io`/, /Redis \d/],
        /refused X(ADD|READ|RANGE|REVRANGE)/,
      );
      await pair.assertLocalDelivery();
      await redis.restart({ args: WITH_OBSERVER });
      await pair.assertDeliversAgain();
    });
  }
});

describe("Redis is away, which is reported once", () => {
  // Breaks when an outage is said by each task and attempt, or once and never again.
  test("unreachable from the start, and again", async (t) => {
    takeWarnings();
    const redis = new RedisServer({ password: SECRET });
    const port = await freePort();
    defer(t, () => redis.stop());
    const node = await startNode({
      redis: /** @type {any} */ ({ url: `redis://:${SECRET}@127.0.0.1:${port}` }),
      client: "url",
      adapterOptions: OPTIONS,
    });
    defer(t, () => node.close());
    const client = await connectClient(node.url);
    defer(t, () => client.disconnect());
    const traffic = new Traffic([node.io], [client]);
    for (const round of ["first", "second"]) {
      await waitFor(() => warnings.length > 0, { what: `the ${round} warning` });
      for (let i = 0; i < 5; i++) {
        traffic.emit();
      }
      await settle(REPETITION);
      const said = takeWarnings();
      assert.equal(said.length, 1, `one warning, not ${JSON.stringify(said, null, 1)}`);
      assert.equal(said[0].code, OUTAGE);
      assert.match(said[0].message, new RegExp(`127.0.0.1:${port}`));
      assert.ok(!said[0].message.includes(SECRET), "no secret is said");
      await redis.launch(port);
      const admin = await createAdmin(redis);
      defer(t, () => admin.close());
      // Emitted while it was away: at the local client in order, and in the stream.
      await traffic.assertComplete();
      assert.equal(await admin.command("XLEN", "socket.io"), 5);
      await waitFor(() => /** @type {any} */ (node.io.of("/").adapter).stats().connected, {
        what: "the node to be back altogether",
      });
      takeWarnings();
      if (round === "first") {
        await redis.kill();
      }
    }
  });

  // Breaks when what is no Redis is taken for one, or hammered.
  test("something else listens there", async (t) => {
    takeWarnings();
    let connections = 0;
    const http = createServer().listen(0, "127.0.0.1"); // answers 400 Bad Request
    http.on("connection", () => connections++);
    defer(t, () => http.close());
    await once(http, "listening");
    const { port } = /** @type {import("node:net").AddressInfo} */ (http.address());
    const node = await startNode({
      redis: /** @type {any} */ ({ url: `redis://:${SECRET}@127.0.0.1:${port}` }),
      client: "url",
      adapterOptions: OPTIONS,
    });
    defer(t, () => node.close());
    await waitFor(() => warnings.length > 0, { what: "a warning" });
    node.io.emit("never out");
    await settle(1_500);
    const said = takeWarnings();
    assert.equal(said.length, 1, `one warning, not ${JSON.stringify(said, null, 1)}`);
    assert.match(said[0].message, new RegExp(`127.0.0.1:${port}`));
    assert.ok(!said[0].message.includes(SECRET), "no secret is said");
    assert.ok(connections < 40, `${connections} attempts within 1.5 s`);
    takeWarnings();
  });

  // Breaks when a cause stays said because a task that met it has nothing more to do.
  test("is said again after a client tried to come back while it was away", async (t) => {
    const redis = await startRedis();
    defer(t, () => redis.stop());
    const node = await startNode({
      redis,
      client: "url",
      adapterOptions: OPTIONS,
      serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 1_000 } },
    });
    defer(t, () => node.close());
    const client = await connectClient(node.url);
    defer(t, () => client.disconnect());
    node.io.emit("anything"); // so that it has an offset
    await client.receives("anything");
    for (const round of ["first", "second"]) {
      takeWarnings();
      await redis.kill();
      await waitFor(() => warnings.some(({ code }) => code === OUTAGE), {
        what: `the ${round} warning`,
      });
      client.cut();
      // With its session, which nobody can give it; that is tried for 10 s.
      await client.reconnect(undefined, 20_000);
      await redis.restart();
      await waitFor(
        async () => {
          const sockets = await node.io
            .timeout(300)
            .fetchSockets()
            .catch(() => []);
          return sockets.length === 1;
        },
        { what: "subscriptions to be back" },
      );
      const before = client.received("anything").length;
      node.io.emit("anything");
      await client.receives("anything", before + 1); // reading and writing, too
    }
  });

  // Breaks when the queue is not bounded, when what is over the bound is lost for local clients,
  // and when what was queued does not go out.
  test("more is published than the queue takes", async (t) => {
    const BOUND = 80_000;
    const redis = await startRedis({ appendOnly: true, args: WITH_OBSERVER });
    defer(t, () => redis.stop());
    const pair = await startPair(t, {
      port: redis.port,
      adapterOptions: { publishQueueBytes: BOUND },
    });
    await pair.assertDeliversAgain();
    for (const round of ["first", "second"]) {
      takeWarnings();
      const before = pair.traffic.counts[0];
      await redis.kill();
      await waitFor(() => warnings.some(({ code }) => code === OUTAGE), { what: "the outage" });
      const load = "x".repeat(1_000);
      for (let i = 0; i < 500; i++) {
        pair.traffic.emit(0, load);
        assert.ok(pair.stats.queueBytes <= BOUND, `${pair.stats.queueBytes} bytes wait`);
        if (i % 100 === 0) {
          await settle(10);
        }
      }
      await waitFor(() => warnings.some(({ code }) => code === "ERR_SIO_REDIS_QUEUE_FULL"), {
        what: `the ${round} warning of a full queue`,
      });
      await settle(REPETITION);
      const full = takeWarnings().filter(({ code }) => code !== OUTAGE);
      assert.equal(full.length, 1, `one warning, not ${JSON.stringify(full, null, 1)}`);
      assert.match(full[0].message, /`publishQueueBytes`/);
      assert.match(full[0].message, /80000/);

      const numbers = (/** @type {import("../helpers/socket-client").SocketClient} */ client) =>
        client.received(EVENT).flatMap(([, number]) => (number >= before ? [number] : []));
      const overTheBound = new Set(numbers(pair.local));
      assert.ok(overTheBound.size > 400, "what is over the bound is delivered locally, at once");
      const queued = Array.from({ length: 500 }, (_, i) => before + i).filter(
        (number) => !overTheBound.has(number),
      );
      assert.ok(queued.length > 10, "something is queued");

      await redis.restart();
      await waitFor(() => numbers(pair.remote).length >= queued.length, {
        what: "what was queued, at the other node",
      });
      assert.deepEqual(numbers(pair.remote), queued);
      await waitFor(() => numbers(pair.local).length >= 500, { what: "everything, locally" });
      assert.deepEqual(numbers(pair.local).slice(-queued.length), queued);
      assert.equal(new Set(numbers(pair.local)).size, 500);
      await pair.assertRequestsAgain(); // or the outage goes on for some, and is not said again
    }
  });
});

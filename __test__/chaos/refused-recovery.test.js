// Redis refuses to let a node read or write for some seconds. Clients of that node leave meanwhile, and
// come back there or at another node: each is recovered only if it lacks nothing, or starts anew.
//
// Breaks when a node gives clients offsets ahead of what it has read, and when what it could not write
// counts as something that nobody has missed.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { startNodeOn } = require("../helpers/node");
const { SESSION_KEY_PREFIX, liveKeyOf } = require("../helpers/recovery");
const { startRedis } = require("../helpers/redis-server");
const { startChildNode } = require("../helpers/remote-node");
const { connectClient } = require("../helpers/socket-client");
const { settle, waitFor } = require("../helpers/wait");
const { defer } = require("../faults/defer");
const { Traffic } = require("../faults/traffic");
require("../faults/warnings"); // refusals are warned of

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const USER = "app";
const PACE = 20;
const CLIENTS = 6;
/** How long a client is away (ms). */
const AWAY = 200;

/** What is refused, and the commands that refuse it and permit it again. */
const REFUSALS = {
  "XREAD is refused": [["-xread"], ["+xread"]],
  "XADD is refused": [["-xadd"], ["+xadd"]],
  "the password is wrong": [["resetpass", ">other"], [">secret"]],
};

/**
 * Two nodes, the first of which has a user of its own.
 *
 * @param {import("node:test").TestContext} t
 */
async function startTwo(t) {
  const redis = await startRedis();
  defer(t, () => redis.stop());
  const admin = await createAdmin(redis);
  defer(t, () => admin.close());
  const setUser = (/** @type {string[]} */ ...rules) =>
    admin.command("ACL", "SETUSER", USER, ...rules);
  await setUser("on", ">secret", "~*", "&*", "+@all");
  const server = { host: redis.host, port: redis.port };
  const nodes = await Promise.all(
    [{ ...server, username: USER, password: "secret" }, server].map((settings) =>
      startNodeOn(
        { adapterArgument: settings, close: async () => {} },
        { serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } } },
      ),
    ),
  );
  defer(t, () => Promise.all(nodes.map((node) => node.close())));
  return { admin, nodes, redis, setUser };
}

/**
 * @param {import("../helpers/clients").Admin} admin
 * @returns {Promise<Set<string>>} the packets in the stream, as `emitter:number`
 */
async function packetsIn(admin) {
  const entries = JSON.stringify(await admin.command("XRANGE", "socket.io", "-", "+"));
  const packets = entries.matchAll(/\[\\"numbered\\",(\d+),(\d+)/g);
  return new Set([...packets].map(([, from, number]) => `${from}:${number}`));
}

describe("clients that leave while", { concurrency: 3 }, () => {
  for (const [what, [refuse, permit]] of Object.entries(REFUSALS)) {
    for (const where of ["the same node", "another node"]) {
      test(`${what} and come back at ${where}`, async (t) => {
        const { admin, nodes, setUser } = await startTwo(t);
        const clients = await Promise.all(
          Array.from({ length: CLIENTS }, () => connectClient(nodes[0].url)),
        );
        defer(t, () => clients.forEach((client) => client.disconnect()));
        const traffic = new Traffic(
          nodes.map(({ io }) => io),
          clients,
        );
        traffic.emit(0);
        traffic.emit(1);
        await traffic.assertComplete();
        traffic.start(PACE);
        defer(t, () => traffic.stop());
        await settle(500);

        await setUser(...refuse);
        if (refuse.includes("resetpass")) {
          await admin.command("CLIENT", "KILL", "USER", USER);
        }
        await settle(500);
        /** What each emitter had emitted when the client was back, if it was recovered. */
        const marks = await Promise.all(
          clients.map(async (client, place) => {
            await settle(place * 150);
            client.cut();
            await settle(AWAY);
            await client.reconnect(nodes[where === "the same node" ? 0 : 1].url, 25_000);
            return client.socket.recovered ? [...traffic.counts] : undefined;
          }),
        );
        await setUser(...permit);
        const last = () => traffic.counts.map((count, from) => `${from}:${count - 1}`);
        await settle(500);
        await waitFor(
          () => {
            traffic.emit(0);
            traffic.emit(1);
            return nodes.every(
              ({ io }) => /** @type {any} */ (io.of("/").adapter).stats().connected,
            );
          },
          { timeout: 20_000, interval: 50, what: "the connections to be back" },
        );
        traffic.stop();
        await settle(200);
        traffic.emit(0);
        traffic.emit(1);
        await waitFor(
          () =>
            clients.every((client) => last().every((p) => traffic.received(client).includes(p))),
          { timeout: 20_000, what: "the last packets" },
        );

        // The other node cannot ask one that is cut off for what it gave to its own clients only.
        const isCutOff = refuse.includes("resetpass") && where === "another node";
        const written = await packetsIn(admin);
        const isExpected = (/** @type {string} */ packet) => !isCutOff || written.has(packet);
        const recovered = marks.filter((mark) => mark !== undefined).length;
        t.diagnostic(`${recovered} of ${CLIENTS} recovered, ${traffic.total} packets`);
        clients.forEach((client, place) => {
          const packets = traffic.received(client);
          const mark = marks[place];
          if (mark === undefined) {
            return;
          }
          assert.equal(new Set(packets).size, packets.length, `doubled for client ${place}`);
          const missing = mark.flatMap((count, from) =>
            Array.from({ length: count }, (_, number) => `${from}:${number}`).filter(
              (packet) => !packets.includes(packet) && isExpected(packet),
            ),
          );
          assert.deepEqual(missing, [], `client ${place} was recovered without these`);
        });
      });
    }
  }
});

// Breaks when what a node has delivered ahead of the stream counts against clients that it was not for.
test("clients that leave when their node has read everything again are recovered", async (t) => {
  const { nodes, setUser } = await startTwo(t);
  const [{ io, url }] = nodes;
  io.on("connection", (socket) => socket.join(socket.handshake.auth.room));
  const [idle, member, witness] = await Promise.all(
    ["idle", "room", "witness"].map((room) => connectClient(url, { auth: { room } })),
  );
  defer(t, () => [idle, member, witness].forEach((client) => client.disconnect()));
  io.emit("first");
  await Promise.all([idle, member].map((client) => client.receives("first")));

  await setUser("-xread");
  await waitFor(
    () => {
      io.to("room").emit("ahead");
      return member.received("ahead").length > 10;
    },
    { interval: 100, what: "packets that are delivered ahead of the stream" },
  );
  await setUser("+xread");
  await waitFor(
    () => {
      nodes[1].io.to("witness").emit("probe");
      return witness.received("probe").length > 0;
    },
    { interval: 50, what: "the node to have read everything" },
  );

  // Only now the member's offset tells what it has.
  io.to("room").emit("later");
  await member.receives("later");
  for (const client of [idle, member]) {
    client.cut();
    await client.reconnect(nodes[1].url);
    assert.equal(client.socket.recovered, true);
  }
  const sent = member.received("ahead").length;
  nodes[1].io.emit("last");
  await Promise.all([idle, member].map((client) => client.receives("last")));
  assert.equal(member.received("ahead").length, sent);
  assert.equal(idle.received("ahead").length, 0);
});

/** Commands that make Redis refuse what the first node writes, and those that permit it again. */
const UNWRITABLE = {
  "permission is given": [
    ["ACL", "SETUSER", USER, "-xadd"],
    ["ACL", "SETUSER", USER, "+xadd"],
  ],
  "there is memory again": [
    ["CONFIG", "SET", "maxmemory", "1"],
    ["CONFIG", "SET", "maxmemory", "0"],
  ],
  "the server is a master again": [
    ["REPLICAOF", "127.0.0.1", "1"],
    ["REPLICAOF", "NO", "ONE"],
  ],
};

for (const [what, [refuse, permit]] of Object.entries(UNWRITABLE)) {
  // Breaks when a node learns only by its next packet that it may write again, and when its clients
  // count as away from a packet that it delivered to them.
  test(`clients that leave a quiet node are recovered once ${what}`, async (t) => {
    const { admin, nodes } = await startTwo(t);
    const cut = async (/** @type {SocketClient} */ client) => {
      const { _pid: pid } = /** @type {any} */ (client.socket);
      client.cut();
      await waitFor(async () => (await admin.command("EXISTS", SESSION_KEY_PREFIX + pid)) === 1, {
        what: "its session",
      });
    };
    /** A client of the first node, with an offset. */
    const arrive = async () => {
      const client = await connectClient(nodes[0].url);
      defer(t, () => client.disconnect());
      nodes[1].io.to(client.id).emit("welcome");
      await client.receives("welcome");
      return client;
    };
    const clients = await Promise.all([arrive(), arrive()]);
    const away = await arrive();
    await cut(away);
    await admin.command(...refuse);
    nodes[0].io.emit("here only", 1);
    await waitFor(() => clients.every((client) => client.received("here only").length > 0), {
      timeout: 20_000, // a server may be read-only for 10 s
      what: "the packet at the clients of its node",
    });
    await admin.command(...permit);

    const isRecovered = async (/** @type {SocketClient} */ client, place = 1) => {
      await cut(client);
      await client.reconnect(nodes[place].url);
      return client.socket.recovered;
    };
    await waitFor(async () => isRecovered(await arrive()), {
      timeout: 20_000,
      interval: 100,
      what: "a client to be recovered",
    });
    for (const [place, client] of clients.entries()) {
      assert.equal(await isRecovered(client, place), true, `at node ${place}`);
      assert.equal(client.received("here only").length, 1);
    }
    await away.reconnect(nodes[0].url);
    assert.equal(away.socket.recovered, false, "it lacks a packet");
  });
}

// Breaks when the record of a client that came while its node was refused is not written again.
test("clients of a node that was refused are recovered when it is killed later", async (t) => {
  const { admin, nodes, redis, setUser } = await startTwo(t);
  const victim = await startChildNode({
    redis: { url: `redis://${USER}:secret@${redis.host}:${redis.port}` },
    client: "url",
    adapterOptions: { heartbeatInterval: 300, heartbeatTimeout: 900 },
    serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } },
  });
  defer(t, () => victim.kill());
  const witness = await connectClient(victim.url);
  defer(t, () => witness.disconnect());
  await setUser("-xadd");
  await victim.emit("here only", [1]);
  await witness.receives("here only");

  const client = await connectClient(victim.url);
  defer(t, () => client.disconnect());
  const key = liveKeyOf(/** @type {any} */ (client.socket)._pid);
  const record = async () => String(await admin.command("HVALS", key));
  await waitFor(async () => (await record()).includes("deliveredAhead"), { what: "its record" });
  await setUser("+xadd");
  await waitFor(async () => !(await record()).includes("deliveredAhead"), {
    timeout: 20_000,
    interval: 100,
    what: "a record by which the client can be recovered",
  });
  await victim.kill();
  await client.reconnect(nodes[1].url);
  assert.equal(client.socket.recovered, true);
});

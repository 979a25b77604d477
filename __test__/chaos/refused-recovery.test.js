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
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { settle, waitFor } = require("../helpers/wait");
const { defer } = require("../faults/defer");
const { Traffic } = require("../faults/traffic");
require("../faults/warnings"); // refusals are warned of

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
  return { admin, nodes, setUser };
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

// A storm: all clients of one node lose their connections at once, and come back together to two
// other nodes, thousands of entries behind, while traffic goes on.

"use strict";

const { createAdmin } = require("../helpers/clients");
const { sessionsIn } = require("../helpers/recovery");
const { startRedis } = require("../helpers/redis-server");
const { waitFor } = require("../helpers/wait");
const { startAgent } = require("./agent");
const { LedgerClient } = require("./client");
const { Tally } = require("./ledger");
const { readTruth } = require("./packets");

/** @typedef {import("../helpers/adapters").Kind} Kind */
/** @typedef {import("../helpers/clients").Admin} Admin */
/** @typedef {import("./agent-extension").Watched} Watched */

/** Each client is in one of them: of 5,000 entries, 50 are its own. */
const ROOMS = Array.from({ length: 100 }, (_, i) => `room ${i}`);
/** ms between two packets of each of the two nodes while the clients come back. */
const INTERVAL = 10;
const LIMIT = 180_000;
/** Clients that connect at a time at the start, where nothing is measured. */
const AT_A_TIME = 50;

/**
 * @param {LedgerClient[]} clients
 * @param {string} url
 */
async function connectAll(clients, url) {
  for (let i = 0; i < clients.length; i += AT_A_TIME) {
    const some = clients.slice(i, i + AT_A_TIME);
    await Promise.all(some.map((client) => client.connect(url)));
  }
}

/**
 * @param {Kind} kind which adapter the nodes run
 * @param {number} count of clients
 * @param {number} entries that they are behind
 */
async function runStorm(kind, count, entries) {
  const redis = await startRedis();
  const admin = await createAdmin(redis);
  const nodes = await Promise.all(
    [0, 1, 2].map((sender) =>
      startAgent({
        redis,
        kind,
        sender,
        adapterOptions: { maxLen: 1_000_000 },
        serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: LIMIT } },
      }),
    ),
  );
  const clients = Array.from(
    { length: count },
    (_, i) => new LedgerClient(String(i), [ROOMS[i % ROOMS.length]]),
  );
  try {
    await connectAll(clients, nodes[0].url);
    await waitFor(
      async () => {
        await nodes[1].burst(1);
        return clients.every(({ offset }) => offset !== undefined);
      },
      { interval: 100, timeout: LIMIT, what: "an offset for each client" },
    );
    clients.forEach((client) => client.cut());
    await waitFor(async () => (await sessionsIn(admin)).length === count, {
      interval: 50,
      timeout: LIMIT,
      what: "all sessions to be saved",
    });
    const behind = await admin.command("XLEN", "socket.io");
    await nodes[1].call("burstToRooms", ROOMS, entries);
    await waitFor(async () => (await admin.command("XLEN", "socket.io")) >= behind + entries);

    const others = nodes.slice(1);
    await Promise.all(
      others.map(async (node, i) => {
        await node.startTraffic({ interval: INTERVAL, rooms: ROOMS, seed: i });
        await node.call("watch");
      }),
    );
    const begin = performance.now();
    const times = await Promise.all(
      clients.map(async (client, i) => {
        while (!(await client.connect(others[i % others.length].url))) {
          if (performance.now() - begin > LIMIT) {
            throw new Error("a client does not come back");
          }
        }
        return performance.now() - begin;
      }),
    );
    /** @type {Watched[]} */
    const watched = await Promise.all(others.map((node) => node.call("watched")));
    await Promise.all(others.map((node) => node.stopTraffic()));
    let truth = await readTruth(admin);
    const done = async () => {
      truth = await readTruth(admin);
      return clients.every((client) => client.isComplete(truth));
    };
    await waitFor(done, { timeout: 10_000, interval: 500 }).catch(() => {}); // the tally tells
    const tally = new Tally();
    clients.forEach((client) => client.judge(truth, tally));
    const recovered = clients.filter((client) => client.recovered > 0).length;
    const findings = await Promise.all(nodes.map((node) => node.findings()));
    const faults = findings.flatMap((finding) => finding.faults);
    return { times: times.sort((a, b) => a - b), watched, tally, recovered, faults };
  } finally {
    clients.forEach((client) => client.disconnect());
    await Promise.all(nodes.map((node) => node.kill()));
    await admin.close();
    await redis.stop();
  }
}

/** @typedef {Awaited<ReturnType<typeof runStorm>>} Result */

module.exports = { runStorm };

// The storm: all clients of one node lose their connections at once, and come back together to the
// other two, thousands of entries behind, while traffic goes on. Upstream and ours in one run:
//
//     npm run storm -- --clients 2000

"use strict";

const { parseArgs } = require("node:util");
const { createAdmin } = require("../helpers/clients");
const { SESSION_KEY_PREFIX } = require("../helpers/recovery");
const { startRedis } = require("../helpers/redis-server");
const { waitFor } = require("../helpers/wait");
const { startAgent } = require("./agent");
const { LedgerClient } = require("./client");
const { Tally } = require("./ledger");
const { readTruth } = require("./packets");

/** @typedef {import("../helpers/adapters").Kind} Kind */
/** @typedef {import("../helpers/clients").Admin} Admin */
/** @typedef {import("./agent-main").Watched} Watched */

const { values } = parseArgs({
  options: {
    clients: { type: "string", default: "500" },
    entries: { type: "string", default: "5000" },
    adapter: { type: "string", multiple: true, default: ["upstream", "native"] },
  },
});

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

/** @param {Admin} admin @returns {Promise<number>} how many sessions are saved */
async function sessions(admin) {
  let count = 0;
  for (let cursor = "0"; ;) {
    const [next, keys] = await admin.command(
      ...["SCAN", cursor, "MATCH", `${SESSION_KEY_PREFIX}*`, "COUNT", 1_000],
    );
    count += keys.length;
    cursor = next;
    if (cursor === "0") {
      return count;
    }
  }
}

/**
 * @param {Kind} kind
 * @param {number} count of clients
 * @param {number} entries that they are behind
 */
async function storm(kind, count, entries) {
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
    await waitFor(async () => (await sessions(admin)) === count, {
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
    return { times: times.sort((a, b) => a - b), watched, tally, recovered };
  } finally {
    clients.forEach((client) => client.disconnect());
    await Promise.all(nodes.map((node) => node.kill()));
    await admin.close();
    await redis.stop();
  }
}

/** @typedef {Awaited<ReturnType<typeof storm>>} Result */

/** CPU of both nodes per client, ms. @param {Result} result */
function cpuOf({ watched, times }) {
  return watched.reduce((sum, { cpu }) => sum + cpu, 0) / times.length;
}

/**
 * @param {Result} result
 * @param {Result} calm of clients that had missed nothing
 * @returns {Record<string, string>}
 */
function row(result, calm) {
  const { times, watched, tally, recovered } = result;
  const cpu = cpuOf(result);
  const most = (/** @type {(one: Watched) => number} */ pick) => Math.max(...watched.map(pick));
  return {
    "half are back (ms)": times[Math.floor(times.length / 2)].toFixed(),
    "all are back (ms)": /** @type {number} */ (times.at(-1)).toFixed(),
    recovered: `${recovered} of ${times.length}`,
    lost: String(tally.lost),
    doubled: String(tally.doubled),
    "out of order": String(tally.disordered),
    "CPU per client (ms)": cpu.toFixed(2),
    "… for what it missed": (cpu - cpuOf(calm)).toFixed(2),
    "loop delay p99 (ms)": most(({ delayP99 }) => delayP99).toFixed(),
    "loop delay max (ms)": most(({ delayMax }) => delayMax).toFixed(),
    "memory (MB)": (most(({ memory }) => memory) / 1e6).toFixed(),
  };
}

async function main() {
  const [count, entries] = [Number(values.clients), Number(values.entries)];
  console.log(`${count} clients come back to two nodes at once, ${entries} entries behind`);
  /** @type {Record<string, Record<string, string>>} */
  const columns = {};
  for (const kind of /** @type {Kind[]} */ (values.adapter)) {
    const calm = await storm(kind, count, 0);
    columns[kind] = row(await storm(kind, count, entries), calm);
  }
  const names = Object.keys(columns);
  const cells = ["", ...names].map((name) => name.padStart(name ? 14 : 22));
  console.log(cells.join(""));
  for (const what of Object.keys(columns[names[0]])) {
    console.log(what.padEnd(22) + names.map((name) => columns[name][what].padStart(14)).join(""));
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});

// Makes inputs for the fuzzers out of what nodes really write: ours and upstream's, in one cluster
// on a redis-server of its own.
//
//     node fuzz/seed.js [folder]     into fuzz/corpus, unless said otherwise
//
// Uids and IDs are new each time: `npm run fuzz -- --minimize` afterwards drops what adds nothing.

"use strict";

process.env.ADAPTER = "mixed";

const { createHash } = require("node:crypto");
const { mkdirSync, writeFileSync } = require("node:fs");
const net = require("node:net");
const { join } = require("node:path");

const { createAdmin } = require("../__test__/helpers/clients");
const { Cluster } = require("../__test__/helpers/cluster");
const { clientWithOffset, cut } = require("../__test__/helpers/recovery");
const { startRedis } = require("../__test__/helpers/redis-server");
const { waitFor } = require("../__test__/helpers/wait");
const { main } = require("../scripts/run");

let folder = join(__dirname, "corpus");
/** As in `src/fuzzing/mod.rs`. */
const BETWEEN_STRINGS = "\x1f";
const BETWEEN_ENTRIES = "\x1e";
const CHANNEL = "socket.io#";
const BINARY = Buffer.from([0, 1, 0x1e, 0x1f, 0xff]);

/** @param {string} target @param {Buffer | string} input */
function save(target, input) {
  const name = createHash("sha1").update(input).digest("hex");
  mkdirSync(join(folder, target), { recursive: true });
  writeFileSync(join(folder, target, name), input);
}

/** @param {any[]} items @param {number} size */
function chunks(items, size) {
  return items.flatMap((_, i) => (i % size === 0 ? [items.slice(i, i + size)] : []));
}

/**
 * A reply as it is on the wire.
 *
 * @param {number} port
 * @param {string} command
 * @returns {Promise<Buffer>}
 */
function rawReply(port, command) {
  const end = Buffer.from("+PONG\r\n");
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, "127.0.0.1", () => socket.write(`${command}\r\nPING\r\n`));
    let received = Buffer.alloc(0);
    socket.on("error", reject);
    socket.on("data", (data) => {
      received = Buffer.concat([received, data]);
      if (received.subarray(-end.length).equals(end)) {
        socket.destroy();
        resolve(received.subarray(0, -end.length));
      }
    });
  });
}

/**
 * Everything that a node can say, said by this one.
 *
 * @param {import("socket.io").Server} io
 */
async function talk(io) {
  io.emit("all", 1, -2.5, 'é😀"\\\n', null, true, [], {});
  io.to("r").emit("one room", { nested: [{ deep: [1e21, 5e-324] }] });
  io.to(["r", "s"]).except("x").emit("rooms", "1");
  io.to("r").volatile.emit("volatile");
  io.compress(false).to(["a", "b", "c"]).emit("compress");
  io.emit("binary", BINARY, { in: [Buffer.alloc(40), "text"] });
  io.to("r").emit("numbers", BINARY, -1, 200, 70_000, -70_000, 2 ** 40, -(2 ** 40), 0.5);
  // Not a room by its types.
  io.to(/** @type {any} */ (5)).emit("odd room");
  io.of("/n").to("r").emit("in a namespace");
  io.in("r").socketsJoin(["s", "t"]);
  io.in("s").socketsLeave("s");
  io.in("nobody").disconnectSockets(true);
  io.serverSideEmit("to servers", 1, "x");
  await io.in("r").fetchSockets();
  await io.timeout(500).emitWithAck("acknowledged", "x");
  await new Promise((resolve) => io.serverSideEmit("answered", 1, resolve));
}

/**
 * @param {Cluster} cluster
 * @returns {Promise<Buffer[]>} the values of sessions
 */
async function sessions(cluster) {
  const values = [];
  for (const index of [0, 1]) {
    const client = await clientWithOffset(cluster, index);
    cluster.serverSocket(client).join(["r", "s"]);
    cluster.serverSocket(client).data = { name: "é", bytes: BINARY };
    await cut(cluster, client);
    const [key] = await cluster.admin.command("KEYS", "sio:session:*");
    values.push(Buffer.from(await cluster.admin.command("GET", key), "base64"));
    await cluster.admin.command("DEL", key);
  }
  return values;
}

/** @param {{ id: string, fields: string[] }[]} entries */
function saveEntries(entries) {
  const flat = entries.map(({ fields }) => fields.join(BETWEEN_STRINGS));
  for (const { fields } of entries) {
    save("entry", fields.join(BETWEEN_STRINGS));
    const data = fields[fields.indexOf("data") + 1];
    if (data && !data.startsWith("{")) {
      save("msgpack", Buffer.from(data, "base64"));
    }
    if (fields[fields.indexOf("type") + 1] === "3") {
      save("broadcast", data.startsWith("{") ? data : Buffer.from(data, "base64"));
    }
  }
  for (const some of chunks(flat, 4)) {
    save("reader", some.join(BETWEEN_ENTRIES));
  }
  for (const [one, two] of chunks(entries, 2)) {
    save("entry_id", `${one.id} ${two?.id ?? "0-0"}`);
  }
}

/** @param {{ channel: string, payload: Buffer }[]} messages */
function saveMessages(messages) {
  const steps = messages.map(({ channel, payload }) => {
    if (channel === `${CHANNEL}members#`) {
      save("member", payload);
      return Buffer.concat([Buffer.from("m"), payload]);
    }
    save("message", payload);
    save("msgpack", payload);
    return Buffer.concat([Buffer.from(channel === `${CHANNEL}/#` ? "q" : "a"), payload]);
  });
  const between = Buffer.from(BETWEEN_ENTRIES);
  for (const some of chunks(steps, 3)) {
    const parts = [...some, Buffer.from("p1-0"), Buffer.from("d")];
    save("control", Buffer.concat(parts.flatMap((part) => [part, between])));
  }
}

/** @param {number} port */
async function saveReplies(port) {
  for (const [start, count] of [
    ["0", 1],
    ["0", 3],
    ["0", 6],
  ]) {
    save("page", await rawReply(port, `XREAD COUNT ${count} STREAMS socket.io ${start}`));
  }
  save("page", await rawReply(port, "XREAD STREAMS nothing 0"));
  save("page", await rawReply(port, "XREAD STREAMS"));
  save("page", await rawReply(port, "SET string x"));
  save("page", await rawReply(port, "XREAD STREAMS string 0"));
  for (const command of [
    "XRANGE socket.io - + COUNT 3",
    "XREVRANGE socket.io + - COUNT 1",
    "XINFO STREAM socket.io",
    "XINFO STREAM nothing",
    `PUBSUB NUMSUB ${CHANNEL}/# ${CHANNEL}members# nobody`,
    "CLIENT INFO",
    "INFO server",
  ]) {
    save("replies", await rawReply(port, command));
  }
}

async function writeInputs() {
  const redis = await startRedis();
  const admin = await createAdmin(redis);
  const subscriber = admin.client.duplicate();
  subscriber.on("error", () => {});
  await subscriber.connect();
  /** @type {{ channel: string, payload: Buffer }[]} */
  const messages = [];
  await subscriber.pSubscribe(
    "*",
    (/** @type {Buffer} */ payload, /** @type {Buffer} */ channel) =>
      messages.push({ channel: String(channel), payload }),
    true,
  );
  const cluster = new Cluster(redis, admin, {
    nodes: 2,
    namespaces: ["/", "/n"],
    adapterOptions: { heartbeatInterval: 1_000, heartbeatTimeout: 2_000 },
    serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } },
    setup(io) {
      io.of("/n");
      io.on("connection", (socket) => {
        socket.join("r");
      });
      // @ts-ignore not an event that a server is known to emit
      io.on("answered", (_, answer) => answer({ binary: BINARY }));
    },
  });
  try {
    await cluster.start();
    for (const client of cluster.clients) {
      client.socket.on("acknowledged", (/** @type {any} */ _, /** @type {any} */ answer) =>
        answer(BINARY),
      );
    }
    const start = await admin.command("XLEN", "socket.io");
    for (const index of [0, 1]) {
      await talk(cluster.io(index));
    }
    for (const value of await sessions(cluster)) {
      save("session", value);
    }
    const isHeard = () => messages.filter(({ channel }) => channel.includes("members")).length > 1;
    await waitFor(isHeard, { what: "heartbeats" });
    const entries = await admin.command("XRANGE", "socket.io", "-", "+");
    saveEntries(
      entries
        .slice(start - 1)
        .map((/** @type {[string, string[]]} */ [id, fields]) => ({ id, fields })),
    );
    saveMessages(messages);
    await saveReplies(redis.port);
  } finally {
    await cluster.close();
    await subscriber.close();
    await admin.close();
    await redis.stop();
  }
}

main({ allowPositionals: true }, async ({ positionals }) => {
  folder = positionals[0] ?? folder;
  await writeInputs();
});

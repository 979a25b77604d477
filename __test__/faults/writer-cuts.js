// Cuts a writer's connection in the middle of what it carries, by chance or in one place, and tells what
// came of it: for nodes and for emitters.

"use strict";

const { startAgent } = require("../chaos/agent");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { waitFor } = require("../helpers/wait");
const { entriesAfter, decodeData } = require("../helpers/wire");
const { defer } = require("./defer");
const { EVENT } = require("./traffic");

/** @typedef {import("../helpers/tcp-proxy").Inspect} Inspect */
/** @typedef {import("./traffic").Traffic} Traffic */

/** ms after which what was held arrives: the writer has long sent it again by then. */
const LATE = 200;

/**
 * Cuts by chance: every other batch of the writer is cut in one of the modes.
 *
 * @param {() => number} chance
 * @param {("request" | "reply" | "late")[]} modes where: in the batch, in its reply; or the batch
 *   is held, and arrives when it has long been sent again
 */
function writerCutter(chance, modes) {
  const cuts = { request: 0, reply: 0, late: 0 };
  /** @type {Inspect} */
  const inspect = ({ notes }, direction, chunk) => {
    if (direction === "up" && !notes.isAwaitingReply && chunk.includes("\r\nXADD\r\n")) {
      notes.isAwaitingReply = true;
      notes.mode = modes[Math.floor(chance() * 2 * modes.length)];
      // Anywhere from the first byte of a small batch to the last of a large one.
      notes.left = notes.mode === "request" ? Math.floor(10 ** (chance() * 5)) : 0;
    }
    /** @type {import("../helpers/tcp-proxy").Verdict | undefined} */
    let verdict;
    if (direction === "down") {
      notes.isAwaitingReply = false;
      if (notes.mode === "reply") {
        verdict = { pass: Math.floor(chance() * chunk.length) };
      }
    } else if (notes.mode === "late") {
      verdict = { pass: 0, late: LATE };
    } else if (notes.mode === "request" && notes.left <= chunk.length) {
      verdict = { pass: notes.left };
    }
    notes.left -= chunk.length;
    if (verdict) {
      cuts[/** @type {keyof typeof cuts} */ (notes.mode)]++;
    }
    if (!notes.isAwaitingReply) {
      notes.mode = undefined;
    }
    return verdict;
  };
  return { inspect, cuts };
}

/** How many bytes of a chunk show that it is not all of a small batch. */
const LARGE = 10_000;

/**
 * A proxy that cuts the first large batch near its beginning. It hangs, for good, near the beginning of
 * what the writer sends of it again.
 *
 * @param {import("node:test").TestContext} t
 * @param {number} port
 */
async function startCutThenHang(t, port) {
  let large = 0;
  const proxy = await startProxy(port, (link, direction, chunk) => {
    const isLarge = direction === "up" && chunk.length > LARGE && chunk.includes("\r\nXADD\r\n");
    if (!isLarge || link.notes.isLarge) {
      return;
    }
    link.notes.isLarge = true;
    large++;
    if (large === 1) {
      return { pass: 100 };
    }
    proxy.stall();
    return { instead: chunk.subarray(0, 100) };
  });
  defer(t, () => proxy.close());
  const hangs = () => waitFor(() => large === 2, { what: "a part of the batch to be sent again" });
  return { proxy, hangs };
}

/**
 * Emits bursts from the first emitter, also large ones, until there were enough cuts of each kind.
 *
 * @param {Traffic} traffic
 * @param {() => number} chance
 * @param {Record<string, number>} cuts
 * @param {string[]} kinds
 * @param {number} enough
 */
async function emitUntil(traffic, chance, cuts, kinds, enough) {
  await waitFor(
    () => {
      const isBehind = traffic.total - traffic.clients[0].received(EVENT).length > 200;
      const burst = isBehind ? 0 : 1 + Math.floor(chance() * 20);
      const load = "x".repeat(chance() < 0.2 ? 5_000 : 10);
      for (let i = 0; i < burst; i++) {
        traffic.emit(0, load);
      }
      traffic.emitters.slice(1).forEach((_, i) => traffic.emit(1 + i));
      return kinds.every((kind) => cuts[kind] >= enough);
    },
    {
      timeout: 20_000,
      interval: 15,
      what: () => `enough cuts, after ${traffic.total} packets: ${JSON.stringify(cuts)}`,
    },
  );
}

/**
 * A client of an upstream node, which knows nothing of doubles.
 *
 * @param {import("node:test").TestContext} t
 * @param {{ redis: import("../helpers/redis-server").RedisServer }} context
 * @param {{ emit: (event: string) => unknown }} other who speaks to it
 * @param {Record<string, unknown>} adapterOptions
 * @param {import("../helpers/adapters").Kind} [kind]
 */
async function startUpstreamReader(t, { redis }, other, adapterOptions, kind = "upstream") {
  const agent = await startAgent({ redis, kind, adapterOptions });
  defer(t, () => agent.close());
  const client = await connectClient(agent.url);
  defer(t, () => client.disconnect());
  // It loses entries between two reads until it has read one.
  await waitFor(() => {
    other.emit("read this");
    return client.received("read this").length > 0;
  });
  return client;
}

/**
 * The numbered packets in the stream, as `emitter:number`.
 *
 * @param {import("../helpers/clients").Admin} admin
 */
async function packetsInStream(admin) {
  const entries = await entriesAfter(admin, "socket.io");
  return entries
    .filter(({ fields }) => fields.type === "3")
    .map(({ fields }) => decodeData(fields.data).packet.data)
    .filter(([event]) => event === EVENT)
    .map(([, from, number]) => `${from}:${number}`);
}

module.exports = {
  LATE,
  writerCutter,
  startCutThenHang,
  emitUntil,
  startUpstreamReader,
  packetsInStream,
};

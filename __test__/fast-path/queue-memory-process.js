// A process that publishes until its queue is full, and reports how much memory that took. Started by
// queue-memory.test.js with the URL of a Redis that replies to nothing after its first replies.

"use strict";

const { Server } = require("socket.io");
const { Emitter, createAdapter } = require("../..");
const { waitFor } = require("../helpers/wait");

/**
 * @typedef {object} Publisher
 * @property {() => { failed: number, queueLength: number, queueBytes: number, published: number }} stats
 * @property {(number: number) => void} emit
 *
 * @typedef {object} Report
 * @property {number} bytes by how much the memory of the process has grown
 * @property {number} counted how many bytes were counted for that
 * @property {number} publishes
 */

/** What is published, by its name. @type {Record<string, (target: any, i: number) => void>} */
const PUBLISHES = {
  broadcasts: (io, i) => io.to("room").emit("hello", i),
  objects: (io, i) => io.emit("hello", { id: i, name: `name ${i}`, values: [i, i + 1, i + 2] }),
  binary: (io, i) => io.emit("hello", i, Buffer.from("bytes")),
  joins: (io) => io.in("room").socketsJoin("other"),
  texts: (io, i) => io.emit("hello", `${i}`.padEnd(20_000, "x")),
};

/** @param {string} url @param {string} what @returns {Publisher} */
function start(url, what) {
  if (what === "emitter") {
    const emitter = new Emitter(url);
    return {
      stats: () => emitter.stats(),
      emit: (i) => emitter.to("room").emit("hello", i),
    };
  }
  const io = new Server({ adapter: /** @type {any} */ (createAdapter(url)) });
  const adapter = /** @type {any} */ (io.of("/").adapter);
  return { stats: () => adapter.stats(), emit: (i) => PUBLISHES[what](io, i) };
}

/** Memory of the process, in bytes, without garbage of JS. */
function memory() {
  /** @type {() => void} */ (global.gc)();
  return process.memoryUsage().rss;
}

async function main() {
  const [url, what] = process.argv.slice(2);
  const { stats, emit } = start(url, what);
  const send = (/** @type {unknown} */ message) =>
    /** @type {NonNullable<typeof process.send>} */ (process.send)(message);

  emit(0);
  await waitFor(() => stats().published === 1, { what: "the first publish" });
  send("ready");
  await new Promise((resolve) => process.once("message", resolve));

  const before = { bytes: memory(), counted: stats().queueBytes };
  let publishes = 0;
  for (; stats().failed === 0; publishes++) {
    emit(publishes);
    if (publishes % 500 === 0) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  const counted = stats().queueBytes - before.counted;
  send({ bytes: memory() - before.bytes, counted, publishes });
  process.exit();
}

void main();

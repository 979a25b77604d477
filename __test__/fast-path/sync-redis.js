// Redis commands that block the event loop until they are answered, so that what they lead to is
// read by the engine and waits for the event loop.

"use strict";

const {
  MessageChannel,
  Worker,
  isMainThread,
  receiveMessageOnPort,
  workerData,
} = require("node:worker_threads");

/** How long an answer, or a condition, may take (ms). */
const LIMIT = 20_000;
const POLL = 1;

class SyncRedis {
  #signal = new Int32Array(new SharedArrayBuffer(4));
  #worker;
  #port;

  /** @param {import("../helpers/redis-server").RedisServer} redis */
  constructor({ url }) {
    const { port1, port2 } = new MessageChannel();
    const workerData = { url, signal: this.#signal, port: port2 };
    this.#worker = new Worker(__filename, { workerData, transferList: [port2] });
    this.#port = port1;
    this.#port.unref();
  }

  /**
   * Runs commands in one transaction.
   *
   * @param {(string | number | Uint8Array)[][]} commands
   * @returns {any[]} replies
   */
  transaction(commands) {
    Atomics.store(this.#signal, 0, 0);
    this.#port.postMessage(commands);
    if (Atomics.wait(this.#signal, 0, 0, LIMIT) === "timed-out") {
      throw new Error("a transaction took too long");
    }
    const { replies, error } = receiveMessageOnPort(this.#port)?.message;
    if (error) {
      throw new Error(`a transaction was refused: ${error}`);
    }
    return replies;
  }

  /** @param {() => boolean} condition that comes true without the event loop */
  blockUntil(condition) {
    const never = new Int32Array(new SharedArrayBuffer(4));
    for (let waited = 0; !condition(); waited += POLL) {
      if (waited > LIMIT) {
        throw new Error(`waited ${LIMIT} ms in vain for ${condition}`);
      }
      Atomics.wait(never, 0, 0, POLL);
    }
  }

  async close() {
    this.#port.close();
    await this.#worker.terminate();
  }
}

async function work() {
  const { createClient } = require("redis");
  const { url, signal, port } = workerData;
  const client = createClient({ url });
  await client.connect();
  port.on("message", async (/** @type {(string | number | Uint8Array)[][]} */ commands) => {
    const transaction = client.multi();
    for (const command of commands) {
      transaction.addCommand(
        command.map((part) => (part instanceof Uint8Array ? Buffer.from(part) : String(part))),
      );
    }
    const answer = await transaction.exec().then(
      (/** @type {any[]} */ replies) => ({ replies }),
      (/** @type {Error} */ error) => ({ error: String(error) }),
    );
    port.postMessage(answer);
    Atomics.store(signal, 0, 1);
    Atomics.notify(signal, 0);
  });
}

if (isMainThread) {
  module.exports = { SyncRedis };
} else {
  work();
}

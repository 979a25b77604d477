"use strict";
// Measures what Redis itself can do on this machine: the limit for any adapter.

const { execFile } = require("node:child_process");
const { promisify } = require("node:util");

const { startRedis } = require("../__test__/helpers/redis-server");
const { entryOf } = require("./entries");
const { Process } = require("./process");
const { LAST_VALUE, RawRedis, STREAM } = require("./raw-redis");

/** The number of commands that redis-benchmark sends at once; below, over how many connections. */
const PIPELINE = 500;
const CONNECTIONS = 2;
const WRITES = 400_000;

/**
 * Runs redis-benchmark's pipelined XADD with the entries that our nodes write, while a raw reader reads
 * the stream.
 *
 * @param {number} bytes of payload
 * @returns {Promise<number>} entries per second
 */
async function xadd(bytes) {
  const server = await startRedis();
  const drain = new Process("drain.js", [String(server.port)]);
  await drain.started;
  try {
    const fields = {
      ...entryOf({ bytes }),
      wid: "0123456789abcdef",
      seq: "123456",
      end: LAST_VALUE,
    };
    const { stdout } = await promisify(execFile)("redis-benchmark", [
      ...["-p", String(server.port), "-n", String(WRITES), "-q"],
      ...["-c", String(CONNECTIONS), "-P", String(PIPELINE)],
      ...["XADD", STREAM, "MAXLEN", "~", "1000000", "*", ...Object.entries(fields).flat()],
    ]);
    const found = /([\d.]+) requests per second, p50/.exec(stdout);
    if (!found) {
      throw new Error(`redis-benchmark says no rate: ${stdout}`);
    }
    return Number(found[1]);
  } finally {
    await drain.stop();
    await server.stop();
  }
}

/**
 * Reads a stream of such entries with raw XRANGE.
 *
 * @param {Record<string, string>} entry
 * @param {number} count
 * @returns {Promise<number>} entries per second
 */
async function xrange(entry, count) {
  const server = await startRedis();
  const redis = new RawRedis(server.port);
  await redis.connected;
  try {
    await redis.add({ ...entry, end: LAST_VALUE }, count);
    return await redis.egress(count);
  } finally {
    redis.close();
    await server.stop();
  }
}

module.exports = { xadd, xrange };

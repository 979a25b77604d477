// A server is taken out of a Redis Cluster and lives on, with the connections that it has.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { defer } = require("../faults/defer");
const { createAdmin } = require("../helpers/clients");
const { needsServer } = require("../helpers/configuration");
const { waitFor } = require("../helpers/wait");
require("../faults/warnings"); // outages are warned of
const { assertRequestsWork, startEmitting } = require("./emitting");
const { judge } = require("./verdict");

const TIMEOUT = 20_000;

/** @typedef {import("../helpers/redis-cluster").RedisCluster} RedisCluster */
/** @typedef {RedisCluster["nodes"][number]} ClusterNode */

/**
 * How many connections with subscriptions a server has.
 *
 * @param {RedisCluster} redis
 * @param {ClusterNode} node
 */
async function subscribers(redis, node) {
  const [list] = await redis.ask(node, "CLIENT LIST", /\$\d+\r\n[\s\S]*\n\r\n/);
  return list.split("\n").filter((line) => / (?:sub|ssub)=[1-9]/.test(line)).length;
}

/**
 * Takes a server out of the cluster; a master gives its slots to its replica first.
 *
 * @param {RedisCluster} redis
 * @param {ClusterNode} server
 */
async function takeOut(redis, server) {
  const others = redis.nodes.filter((node) => node !== server);
  const replica = others.find(({ masterId }) => masterId === server.id);
  if (replica) {
    await redis.ask(replica, "CLUSTER FAILOVER", /\+OK/);
    const isReplaced = () => redis.ask(server, "ROLE", /^\*5\r\n\$5\r\nslave/).catch(() => null);
    await waitFor(isReplaced, { timeout: TIMEOUT, what: "the master to be replaced" });
  }
  await redis.ask(server, "CLUSTER RESET", /\+OK/);
  for (const node of others) {
    await redis.ask(node, `CLUSTER FORGET ${server.id}`, /\+OK/);
  }
}

// Redis 6.2 goes on holding back what is published to the old master, for 10 s.
const orderly = needsServer(7, "end of the pause with the failover (redis/redis#10985)");

// Breaks when a PUB/SUB connection is kept as long as it stands: what is published there reaches
// nobody in the cluster, and nobody is told.
test(
  "the server of a PUB/SUB connection is taken out: requests reach all again",
  { skip: orderly },
  async (t) => {
    const { redis, cluster, traffic, losses } = await startEmitting(t, {
      adapterOptions: { heartbeatInterval: 300, heartbeatTimeout: 3_000 },
    });
    await assertRequestsWork(cluster);
    const counts = await Promise.all(redis.nodes.map((node) => subscribers(redis, node)));
    const victim = redis.nodes[counts.findIndex((count) => count > 0)];
    assert.ok(victim, `no PUB/SUB connection: ${counts}`);
    await takeOut(redis, victim);
    let left = 0;
    await waitFor(async () => (left = await subscribers(redis, victim)) === 0, {
      timeout: TIMEOUT,
      what: () => `no PUB/SUB connection to be left at the server, not ${left}`,
    });
    await assertRequestsWork(cluster);
    await traffic.flows();
    traffic.stop();
    const [first, ...rest] = redis.nodes.filter((node) => node !== victim);
    const { host, port, url, options } = first;
    const ports = [first, ...rest].map((node) => node.port);
    const admin = await createAdmin({ host, port, url, options, ports });
    defer(t, () => admin.close());
    const { lost, said } = await judge({ cluster, traffic, admin, losses });
    assert.deepEqual([lost, said], [0, 0]);
  },
);

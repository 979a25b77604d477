"use strict";
// The panels of docs/grafana-dashboard.json: their queries to Prometheus, and how to read each panel.

const PREFIX = "socketio_redis_streams_";
/** The labels of metrics per node; below, those of metrics per stream of a node. */
const NODE = '{job=~"$job", instance=~"$instance"}';
const STREAM = '{job=~"$job", instance=~"$instance", stream=~"$stream"}';
const BY_NODE = "{{instance}}";
const BY_STREAM = "{{instance}} {{stream}}";

/**
 * @typedef {object} Panel
 * @property {string} title
 * @property {string} description what it shows, when to worry, what to do
 * @property {[expr: string, legend: string][]} targets
 * @property {string} [unit] of Grafana
 * @property {[color: string, from: number | null][]} [thresholds]
 * @property {boolean} [isStat] a number instead of a graph
 */

/** @param {string} name @param {string} labels */
const rate = (name, labels) => `rate(${PREFIX}${name}${labels}[$__rate_interval])`;
/** @param {string} name @param {string} labels */
const increase = (name, labels) => `increase(${PREFIX}${name}${labels}[$__range])`;
/** @param {number} q @param {string} name */
const quantile = (q, name) =>
  `histogram_quantile(${q}, sum by (le, instance) (${rate(`${name}_bucket`, NODE)}))`;
/** @param {string} name @returns {[string, string][]} */
const latency = (name) => [
  [quantile(0.5, name), `p50 ${BY_NODE}`],
  [quantile(0.99, name), `p99 ${BY_NODE}`],
  [`${rate(`${name}_sum`, NODE)} / ${rate(`${name}_count`, NODE)}`, `mean ${BY_NODE}`],
];

/** @type {[color: string, from: number | null][]} */
const ANY_IS_BAD = [
  ["green", null],
  ["red", 1],
];

/** @type {{ title: string, panels: Panel[] }[]} */
const ROWS = [
  {
    title: "Is all well?",
    panels: [
      {
        title: "Connected",
        description:
          "0: a node has no connection to Redis. Packets wait (see the publish queue) and are " +
          "neither lost nor delivered. Look at Redis and the network.",
        targets: [[`min(${PREFIX}connected${STREAM})`, "connected"]],
        thresholds: [
          ["red", null],
          ["green", 1],
        ],
        isStat: true,
      },
      {
        title: "Losses",
        description:
          "Times that entries were lost: trimmed before a node had read them (raise maxLen, look " +
          "for what keeps the node from reading), or deleted, or gone in a failover.",
        targets: [[`sum(${increase("losses_total", NODE)})`, "losses"]],
        thresholds: ANY_IS_BAD,
        isStat: true,
      },
      {
        title: "Publishes failed",
        description:
          "Their packets reached the clients of their own node only. The warnings in the log say " +
          "why: a full queue (publishQueueBytes), missing rights, a full Redis.",
        targets: [[`sum(${increase("failed_publishes_total", NODE)})`, "failed"]],
        thresholds: ANY_IS_BAD,
        isStat: true,
      },
      {
        title: "Greatest lag",
        description: "How late the slowest node reads. Above a second: see Lag.",
        targets: [[`max(${PREFIX}lag_seconds${STREAM})`, "lag"]],
        unit: "s",
        thresholds: [
          ["green", null],
          ["orange", 1],
          ["red", 10],
        ],
        isStat: true,
      },
      {
        title: "Members, by the node that hears least",
        description:
          "Fewer than there are nodes: one is down, hangs, is cut off, or has another prefix.",
        targets: [[`min(${PREFIX}members${NODE})`, "members"]],
        isStat: true,
      },
      {
        title: "Restores refused",
        description:
          "Of the clients that came back, how many had to start anew. Many: maxLen or " +
          "maxDisconnectionDuration is too small, or entries were lost.",
        targets: [
          [
            `sum(${increase("restores_refused_total", NODE)}) / (sum(${increase("restores_refused_total", NODE)}) + sum(${increase("restores_total", NODE)}))`,
            "refused",
          ],
        ],
        unit: "percentunit",
        thresholds: [
          ["green", null],
          ["orange", 0.1],
          ["red", 0.5],
        ],
        isStat: true,
      },
    ],
  },
  {
    title: "Streams",
    panels: [
      {
        title: "Lag in entries",
        description:
          "Entries that a node has not read yet. Rising on one node: it is short of CPU, or its " +
          "inbox is full; on all: Redis or the network. At maxLen entries are lost.",
        targets: [[`${PREFIX}lag_entries${STREAM}`, BY_STREAM]],
      },
      {
        title: "Lag in time",
        description: "How much older what a node has read is than the end of the stream.",
        targets: [[`${PREFIX}lag_seconds${STREAM}`, BY_STREAM]],
        unit: "s",
        thresholds: [
          ["green", null],
          ["orange", 1],
          ["red", 10],
        ],
      },
      {
        title: "Entries in the stream",
        description: "Approximately maxLen once it is full. Falling to 0: it was deleted.",
        targets: [[`max by (stream) (${PREFIX}stream_entries${STREAM})`, "{{stream}}"]],
      },
      {
        title: "Reader silent",
        description:
          "Time since the reader has heard of Redis. Up to blockTimeInMs without traffic; above " +
          "that Redis hangs or is away, or reading pauses because the inbox is full.",
        targets: [[`${PREFIX}reader_silent_seconds${STREAM}`, BY_STREAM]],
        unit: "s",
        thresholds: [
          ["green", null],
          ["red", 10],
        ],
      },
    ],
  },
  {
    title: "Publishing",
    panels: [
      {
        title: "Published per second",
        description: "Entries written and acknowledged, heartbeats included.",
        targets: [[rate("published_entries_total", NODE), BY_NODE]],
        unit: "ops",
      },
      {
        title: "Publish latency",
        description:
          "From a publish to the acknowledgement of Redis, queue and outages included. Rising: " +
          "Redis is busy (SLOWLOG, CPU), or the network is.",
        targets: latency("publish_latency_seconds"),
        unit: "s",
        thresholds: [
          ["green", null],
          ["orange", 0.1],
          ["red", 1],
        ],
      },
      {
        title: "Publish queue",
        description: "Publishes not written yet. Rising: Redis is away or too slow.",
        targets: [[`${PREFIX}queue_publishes${STREAM}`, BY_STREAM]],
      },
      {
        title: "Publish queue, bytes",
        description: "At publishQueueBytes further publishes fail.",
        targets: [[`${PREFIX}queue_bytes${STREAM}`, BY_STREAM]],
        unit: "bytes",
      },
      {
        title: "Failed and doubtful publishes per second",
        description:
          "Failed: see above. Doubtful: sent again after a cut without proof that they had not " +
          "arrived; nodes with this adapter drop the double.",
        targets: [
          [rate("failed_publishes_total", NODE), `failed ${BY_NODE}`],
          [rate("doubtful_publishes_total", NODE), `doubtful ${BY_NODE}`],
        ],
        unit: "ops",
        thresholds: [
          ["green", null],
          ["red", 0.01],
        ],
      },
    ],
  },
  {
    title: "Delivery",
    panels: [
      {
        title: "Read, delivered and skipped per second",
        description:
          "Read: all entries. Delivered: what the event loop had to do with, PUB/SUB messages " +
          "included. Skipped: what nobody on the node wanted, which costs next to nothing.",
        targets: [
          [rate("read_entries_total", NODE), `read ${BY_NODE}`],
          [rate("delivered_messages_total", NODE), `delivered ${BY_NODE}`],
          [rate("skipped_entries_total", NODE), `skipped ${BY_NODE}`],
        ],
        unit: "ops",
      },
      {
        title: "Age of the inbox",
        description:
          "How long the oldest event has been waiting for the event loop: packets are that late. " +
          "Something blocks the event loop, or it has more to do than it can.",
        targets: [[`${PREFIX}inbox_age_seconds${NODE}`, BY_NODE]],
        unit: "s",
        thresholds: [
          ["green", null],
          ["orange", 0.5],
          ["red", 5],
        ],
      },
      {
        title: "Inbox",
        description: "Events that wait for the event loop.",
        targets: [[`${PREFIX}inbox_events${NODE}`, BY_NODE]],
      },
      {
        title: "Inbox, bytes",
        description: "At inboxBytes reading pauses, and entries wait in Redis.",
        targets: [[`${PREFIX}inbox_bytes${NODE}`, BY_NODE]],
        unit: "bytes",
      },
      {
        title: "Malformed, doubled and dropped per second",
        description:
          "Malformed: somebody else writes to the stream or its channels. Doubled: dropped after " +
          "a resend, which is well. Dropped: requests lost to a busy event loop or in an outage.",
        targets: [
          [rate("malformed_messages_total", NODE), `malformed ${BY_NODE}`],
          [rate("doubled_entries_total", NODE), `doubled ${BY_NODE}`],
          [rate("dropped_messages_total", NODE), `dropped ${BY_NODE}`],
        ],
        unit: "ops",
      },
      {
        title: "Slow clients per second",
        description: "Connections ended because more than clientBufferBytes waited for the client.",
        targets: [[rate("slow_clients_total", NODE), BY_NODE]],
        unit: "ops",
      },
    ],
  },
  {
    title: "Connection state recovery",
    panels: [
      {
        title: "Sessions per second",
        description: "Sessions kept for clients that went, given back, and refused.",
        targets: [
          [rate("saved_sessions_total", NODE), `saved ${BY_NODE}`],
          [rate("restores_total", NODE), `restored ${BY_NODE}`],
          [rate("restores_refused_total", NODE), `refused ${BY_NODE}`],
        ],
        unit: "ops",
      },
      {
        title: "Restore latency",
        description:
          "Clients wait that long for their connection. Rising: what they missed is read from " +
          "Redis (raise historyBytes), or Redis is slow.",
        targets: latency("restore_latency_seconds"),
        unit: "s",
        thresholds: [
          ["green", null],
          ["orange", 0.5],
          ["red", 5],
        ],
      },
      {
        title: "History",
        description: "Broadcasts kept in memory.",
        targets: [[`${PREFIX}history_entries${STREAM}`, BY_STREAM]],
      },
      {
        title: "History, bytes",
        description: "Up to historyBytes, all streams of a node together.",
        targets: [[`${PREFIX}history_bytes${STREAM}`, BY_STREAM]],
        unit: "bytes",
      },
    ],
  },
  {
    title: "Cluster",
    panels: [
      {
        title: "Members",
        description: "Nodes that each node hears, itself included.",
        targets: [[`${PREFIX}members${NODE}`, BY_NODE]],
      },
      {
        title: "Reconnects",
        description:
          "Connections made again per scrape interval. Regular ones: a time-out of a proxy or of " +
          "Redis (`timeout`), or a client output buffer limit.",
        targets: [[`increase(${PREFIX}reconnects_total${NODE}[$__rate_interval])`, BY_NODE]],
      },
      {
        title: "Losses and resets",
        description: "Times that entries were lost; those at which the stream itself was replaced.",
        targets: [
          [`increase(${PREFIX}losses_total${NODE}[$__rate_interval])`, `losses ${BY_NODE}`],
          [`increase(${PREFIX}stream_resets_total${NODE}[$__rate_interval])`, `resets ${BY_NODE}`],
        ],
        thresholds: ANY_IS_BAD,
      },
      {
        title: "Entries lost",
        description: "As far as it is known how many.",
        targets: [[`increase(${PREFIX}lost_entries_total${NODE}[$__rate_interval])`, BY_NODE]],
        thresholds: ANY_IS_BAD,
      },
    ],
  },
];

module.exports = { BY_NODE, NODE, PREFIX, ROWS };

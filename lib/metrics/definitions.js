"use strict";
// The metrics: their names, their descriptions, and the adapter's stats that they show. Names and units
// follow Prometheus: seconds and bytes, and names of counters end in `_total`.

/**
 * @typedef {import("../../index").AdapterStats} Stats
 * @typedef {import("../../index").Latency} Latency
 * @typedef {"sum" | "min" | "max"} Aggregator how the values of a `cluster`'s workers are combined
 */
/**
 * @typedef {object} CounterDefinition a sum over all streams and namespaces of a server
 * @property {string} name without the prefix
 * @property {string} help
 * @property {keyof { [K in keyof Stats as Stats[K] extends number ? K : never]: 1 }} counts
 */
/**
 * @typedef {object} GaugeDefinition
 * @property {string} name
 * @property {string} help
 * @property {Aggregator} aggregator
 * @property {(stats: Stats) => number | undefined} value undefined if it is not known
 */
/**
 * @typedef {object} HistogramDefinition
 * @property {string} name
 * @property {string} help
 * @property {(stats: Stats) => Latency} value
 */

/** @param {number | undefined} ms */
const seconds = (ms) => (ms === undefined ? undefined : ms / 1_000);

/** @type {CounterDefinition[]} */
const COUNTERS = [
  { name: "read_entries_total", counts: "read", help: "Entries read from the streams." },
  {
    name: "delivered_messages_total",
    counts: "delivered",
    help: "Entries and PUB/SUB messages handed to the event loop.",
  },
  {
    name: "skipped_entries_total",
    counts: "skipped",
    help: "Entries that nobody on this node wanted.",
  },
  {
    name: "malformed_messages_total",
    counts: "malformed",
    help: "Entries, messages and sessions that could not be understood.",
  },
  {
    name: "doubled_entries_total",
    counts: "doubled",
    help: "Entries dropped because a resend had doubled them.",
  },
  {
    name: "lost_entries_total",
    counts: "lost",
    help: "Entries known to have been lost: trimmed before they were read, or in a failover.",
  },
  {
    name: "losses_total",
    counts: "losses",
    help: "Losses noticed, whether or not it is known how many entries.",
  },
  {
    name: "stream_resets_total",
    counts: "resets",
    help: "Times that a stream was deleted, replaced, or fell back.",
  },
  {
    name: "published_entries_total",
    counts: "published",
    help: "Entries written and acknowledged by Redis, heartbeats included.",
  },
  {
    name: "failed_publishes_total",
    counts: "failed",
    help: "Publishes that failed: their packets went to local clients only.",
  },
  {
    name: "doubtful_publishes_total",
    counts: "doubtful",
    help: "Publishes sent again without proof that they had not arrived.",
  },
  {
    name: "dropped_messages_total",
    counts: "dropped",
    help: "PUB/SUB messages dropped because the event loop was too far behind, or in an outage.",
  },
  {
    name: "reconnects_total",
    counts: "reconnects",
    help: "Connections to Redis made again after one broke.",
  },
  {
    name: "restores_total",
    counts: "restores",
    help: "Sessions of connection state recovery given back to clients.",
  },
  {
    name: "restores_refused_total",
    counts: "restoresRefused",
    help: "Sessions that clients asked for and did not get.",
  },
  {
    name: "saved_sessions_total",
    counts: "sessionsSaved",
    help: "Sessions kept for clients that have gone.",
  },
  {
    name: "slow_clients_total",
    counts: "slowClients",
    help: "Connections ended because more than clientBufferBytes waited for the client.",
  },
];

/** @type {HistogramDefinition[]} */
const HISTOGRAMS = [
  {
    name: "publish_latency_seconds",
    value: (stats) => stats.publishLatency,
    help: "Time from a publish to the acknowledgement of Redis, queue and outages included.",
  },
  {
    name: "restore_latency_seconds",
    value: (stats) => stats.restoreLatency,
    help: "Time from a client's question for its session to the answer, of restored sessions.",
  },
];

/** Gauges of a server. @type {GaugeDefinition[]} */
const SERVER_GAUGES = [
  {
    name: "members",
    aggregator: "max",
    value: (stats) => stats.members,
    help: "Nodes that this node hears, itself included.",
  },
  {
    name: "inbox_events",
    aggregator: "sum",
    value: (stats) => stats.inboxLength,
    help: "Events that wait for the event loop.",
  },
  {
    name: "inbox_bytes",
    aggregator: "sum",
    value: (stats) => stats.inboxBytes,
    help: "Bytes of the events that wait for the event loop.",
  },
  {
    name: "inbox_age_seconds",
    aggregator: "max",
    value: (stats) => seconds(stats.inboxAgeMs),
    help: "How long the oldest event has been waiting for the event loop.",
  },
];

/** Gauges of a stream, with the label `stream`. @type {GaugeDefinition[]} */
const STREAM_GAUGES = [
  {
    name: "connected",
    aggregator: "min",
    value: (stats) => Number(stats.connected),
    help: "1 when all connections to Redis stand, as far as is known, else 0.",
  },
  {
    name: "reader_silent_seconds",
    aggregator: "max",
    value: (stats) => seconds(stats.silentMs),
    help: "Time since the reader has heard of Redis; up to blockTimeInMs when nothing is written.",
  },
  {
    name: "lag_entries",
    aggregator: "max",
    value: (stats) => stats.lagEntries,
    help: "Entries of the stream not read yet. Absent where Redis does not tell.",
  },
  {
    name: "lag_seconds",
    aggregator: "max",
    value: (stats) => seconds(stats.lagMs),
    help: "How much older what was read is than the last entry of the stream; 0 when all was read.",
  },
  {
    name: "stream_entries",
    aggregator: "max",
    value: (stats) => stats.streamLength,
    help: "Entries in the stream. Absent where XINFO is not permitted.",
  },
  {
    name: "queue_publishes",
    aggregator: "sum",
    value: (stats) => stats.queueLength,
    help: "Publishes that were neither written nor failed.",
  },
  {
    name: "queue_bytes",
    aggregator: "sum",
    value: (stats) => stats.queueBytes,
    help: "Bytes of the publishes that wait to be written.",
  },
  {
    name: "history_entries",
    aggregator: "sum",
    value: (stats) => stats.historyLength,
    help: "Broadcasts kept in memory for connection state recovery.",
  },
  {
    name: "history_bytes",
    aggregator: "sum",
    value: (stats) => stats.historyBytes,
    help: "Bytes of the broadcasts kept in memory for connection state recovery.",
  },
];

module.exports = { COUNTERS, HISTOGRAMS, SERVER_GAUGES, STREAM_GAUGES };

// Which adapter the tests run against, by the environment variable ADAPTER:
//   upstream              @socket.io/redis-streams-adapter on every node
//   native                ours on every node (the default)
//   mixed                 both in one cluster: ours on node 0 and 2, upstream on node 1
//   mixed-upstream-first  both in one cluster: upstream on node 0 and 2, ours on node 1
// and, where requests travel in the stream (`requestsVia: "stream"`):
//   native-stream             ours on every node
//   mixed-0.2                 ours on node 0 and 2, upstream 0.2 on node 1
//   mixed-0.2-upstream-first  upstream 0.2 on node 0 and 2, ours on node 1
//   upstream-0.2              upstream 0.2 on every node: what it cannot do by itself
// and, for bench/returns, in-memory: Socket.IO's own adapter, on a single node.

"use strict";

const { join } = require("node:path");
const { pathToFileURL } = require("node:url");

/** @typedef {"native" | "upstream" | "native-stream" | "upstream-0.2" | "in-memory"} Kind */

/** @type {Record<string, Kind[]>} */
const PATTERNS = {
  upstream: ["upstream"],
  native: ["native"],
  mixed: ["native", "upstream"],
  "mixed-upstream-first": ["upstream", "native"],
  "native-stream": ["native-stream"],
  "mixed-0.2": ["native-stream", "upstream-0.2"],
  "mixed-0.2-upstream-first": ["upstream-0.2", "native-stream"],
  "upstream-0.2": ["upstream-0.2"],
  "in-memory": ["in-memory"],
};

/**
 * Upstream 0.2 reads from `$` until its first entry, and may miss who says hello: nodes that have to
 * know each other soon say often that they are there.
 */
const HEARTBEATS = { heartbeatInterval: 500, heartbeatTimeout: 4_000 };
/** @type {Partial<Record<Kind, Record<string, unknown>>>} */
const OPTIONS = {
  "native-stream": { requestsVia: "stream", ...HEARTBEATS },
  "upstream-0.2": HEARTBEATS,
};

const name = process.env.ADAPTER || "native";
const pattern = PATTERNS[name];
if (!pattern) {
  throw new Error(`ADAPTER is "${name}", must be one of ${Object.keys(PATTERNS).join(", ")}`);
}

const OURS = join(__dirname, "..", "..", "index.js");
const modules = {
  native: OURS,
  "native-stream": OURS,
  upstream: require.resolve("@socket.io/redis-streams-adapter"),
  "upstream-0.2": require.resolve("upstream-0.2"),
  "in-memory": join(__dirname, "in-memory.js"),
};

/** Which adapter node `index` runs. @param {number} index @returns {Kind} */
function kindOf(index) {
  return pattern[index % pattern.length];
}

/** Options that a kind of adapter needs. @param {Kind} kind @returns {Record<string, unknown>} */
function optionsOf(kind) {
  return OPTIONS[kind] ?? {};
}

/** Whether a kind of adapter is one of upstream's. @param {Kind} kind */
function isUpstream(kind) {
  return kind.startsWith("upstream");
}

/** What `require()` takes for the adapter of node `index`. @param {number} index */
function modulePath(index) {
  return modules[kindOf(index)];
}

/** What `import()` takes for the adapter of node `index`. @param {number} index */
function moduleUrl(index) {
  return pathToFileURL(modulePath(index)).href;
}

/**
 * The `createAdapter` of node `index`.
 *
 * @param {number} index
 * @returns {(client: any, opts?: any) => (nsp: any) => any}
 */
function createAdapterOf(index) {
  return require(modulePath(index)).createAdapter;
}

/**
 * For the `skip` option of a test that upstream cannot pass: the reason when one of the nodes that
 * matter runs upstream, else false.
 *
 * @param {string} reason completes "upstream cannot pass this: …"
 * @param {number[]} [nodes] the nodes that have to be ours, by default all
 * @returns {string | false}
 */
function upstreamCannot(reason, nodes = [0, 1]) {
  return nodes.some((node) => isUpstream(kindOf(node)))
    ? `upstream cannot pass this: ${reason}`
    : false;
}

/**
 * The same for what upstream 0.3 can and 0.2 cannot.
 *
 * @param {string} reason completes "upstream 0.2 cannot pass this: …"
 * @param {number[]} [nodes] the nodes that must not run it, by default all
 * @returns {string | false}
 */
function upstream02Cannot(reason, nodes = [0, 1]) {
  return nodes.some((node) => kindOf(node) === "upstream-0.2")
    ? `upstream 0.2 cannot pass this: ${reason}`
    : false;
}

/** Whether requests, answers and heartbeats travel in the stream. */
const viaStream = pattern.some((kind) => kind === "native-stream" || kind === "upstream-0.2");

/**
 * For the `skip` option of a test that is about what travels over PUB/SUB.
 *
 * @returns {string | false}
 */
function pubSubOnly() {
  return viaStream && "it is about PUB/SUB, which nothing is sent over with requests in the stream";
}

/**
 * For the `skip` option of a test that is about some kinds of cluster only.
 *
 * @param {string[]} names values of ADAPTER
 * @param {string} reason
 * @returns {string | false}
 */
function only(names, reason) {
  return names.includes(name) ? false : `only for ADAPTER=${names.join(" or ")}: ${reason}`;
}

module.exports = {
  name,
  kindOf,
  optionsOf,
  isUpstream,
  modulePath,
  moduleUrl,
  createAdapterOf,
  upstreamCannot,
  upstream02Cannot,
  viaStream,
  pubSubOnly,
  only,
};

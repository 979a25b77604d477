// Which adapter the tests run against, by the environment variable ADAPTER:
//   upstream              @socket.io/redis-streams-adapter on every node
//   native                ours on every node (the default)
//   mixed                 both in one cluster: ours on node 0 and 2, upstream on node 1
//   mixed-upstream-first  both in one cluster: upstream on node 0 and 2, ours on node 1

"use strict";

const { join } = require("node:path");
const { pathToFileURL } = require("node:url");

/** @typedef {"native" | "upstream"} Kind */

/** @type {Record<string, Kind[]>} */
const PATTERNS = {
  upstream: ["upstream"],
  native: ["native"],
  mixed: ["native", "upstream"],
  "mixed-upstream-first": ["upstream", "native"],
};

const name = process.env.ADAPTER || "native";
const pattern = PATTERNS[name];
if (!pattern) {
  throw new Error(`ADAPTER is "${name}", must be one of ${Object.keys(PATTERNS).join(", ")}`);
}

const modules = {
  native: join(__dirname, "..", "..", "index.js"),
  upstream: require.resolve("@socket.io/redis-streams-adapter"),
};

/** Which adapter node `index` runs. @param {number} index @returns {Kind} */
function kindOf(index) {
  return pattern[index % pattern.length];
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
  return nodes.some((node) => kindOf(node) === "upstream")
    ? `upstream cannot pass this: ${reason}`
    : false;
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

module.exports = { name, kindOf, modulePath, moduleUrl, createAdapterOf, upstreamCannot, only };

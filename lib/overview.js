"use strict";
// Which rooms there are in the cluster, and which sockets or how many of them are in rooms, without
// the sockets' data: one request, which each node answers with names or a number.
//
// Nodes of upstream do not know this request. While one of them listens, or when requests travel in
// the stream, every node is asked for its sockets instead, which all of them understand.

const { decodeTargets } = require("./targets");

/** Types of messages, beside those of socket.io-adapter, which end at 13. */
const OVERVIEW = 64;
const OVERVIEW_RESPONSE = 65;

/**
 * @typedef {import("./targets").Targets} Targets
 * @typedef {"rooms" | "ids" | "count"} Subject
 * @typedef {string[] | number} Overview rooms, socket IDs, or a number of sockets
 */

/** @type {Record<Subject, (sockets: any[]) => Overview>} */
const OF_SOCKETS = {
  rooms: (sockets) => [...new Set(sockets.flatMap(({ rooms }) => [...rooms]))],
  ids: (sockets) => sockets.map(({ id }) => id),
  count: (sockets) => sockets.length,
};

/** @param {any} subject @returns {subject is Subject} */
const isSubject = (subject) => Object.hasOwn(OF_SOCKETS, subject);

/** @param {any} overview @returns {overview is Overview} */
const isOverview = (overview) => Array.isArray(overview) || Number.isInteger(overview);

/**
 * What there is on this node.
 *
 * @param {any} adapter
 * @param {Subject} subject
 * @param {Targets} targets
 * @returns {Overview}
 */
function localOverview(adapter, subject, targets) {
  if (subject === "rooms") {
    return [...adapter.rooms.keys()];
  }
  /** @type {any[]} */
  const sockets = [];
  // Private in its types only.
  adapter.apply(targets, (/** @type {any} */ socket) => sockets.push(socket));
  return OF_SOCKETS[subject](sockets);
}

/**
 * @param {any} adapter
 * @param {any} request the data of an OVERVIEW
 * @returns {any} the answer
 */
function overviewAnswer(adapter, { requestId, subject, opts }) {
  const overview = localOverview(adapter, subject, decodeTargets(opts));
  return { type: OVERVIEW_RESPONSE, data: { requestId, overview } };
}

/**
 * Targets as users write them: rooms in anything that can be iterated over.
 *
 * @param {{ rooms?: Iterable<string>, except?: Iterable<string>, flags?: object }} [opts]
 * @returns {Targets}
 */
function targetsOf({ rooms = [], except = [], flags = {} } = {}) {
  return { rooms: new Set(rooms), except: new Set(except), flags };
}

module.exports = {
  OVERVIEW,
  OVERVIEW_RESPONSE,
  OF_SOCKETS,
  isSubject,
  isOverview,
  localOverview,
  overviewAnswer,
  targetsOf,
};

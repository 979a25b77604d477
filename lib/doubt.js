"use strict";
// Sessions by which no client is recovered, since nobody can tell what it holds.

const { isAfter } = require("./entry-ids");

/**
 * Why nobody can tell which packets a client holds.
 *
 * @param {any} session
 * @param {string} offset the last one that the client has received
 * @returns {string | undefined} undefined if it is certain
 */
function doubtAbout({ ahead, deliveredAhead, lastSent, sentUpTo }, offset) {
  // A client holds back packets that arrive before its CONNECT, and counts them as received when the
  // CONNECT arrives. This client never got the CONNECT, and may still hold some of the packets.
  if (typeof ahead === "string" && isAfter(ahead, offset)) {
    return "the client may hold packets of its last recovery";
  }
  // Its node has delivered own packets at once, and those of other nodes, which stand before them in the
  // stream, later or not at all.
  if (typeof deliveredAhead === "string" && isAfter(deliveredAhead, offset)) {
    const isWhole = lastSent === offset && !isAfter(deliveredAhead, sentUpTo);
    return isWhole ? undefined : "its node had delivered packets ahead of the stream";
  }
}

module.exports = { doubtAbout };

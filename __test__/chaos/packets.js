// The numbered packets of the chaos tests, and how they are told from each other.

"use strict";

/** The event of a numbered packet: sender, number, and a load perhaps. */
const EVENT = "packet";
/** What a node says to each client that connects. */
const WELCOME = "welcome";

const SPAN = 2 ** 32;

/**
 * One number for a packet.
 *
 * @param {number} sender
 * @param {number} seq
 */
function packetId(sender, seq) {
  return sender * SPAN + seq;
}

/** For people. @param {number} id */
function packetName(id) {
  return `${Math.floor(id / SPAN)}:${id % SPAN}`;
}

module.exports = { EVENT, WELCOME, packetId, packetName };

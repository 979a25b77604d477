// The numbered packets of the chaos tests, and what the stream says of them: the truth that clients
// are checked against.

"use strict";

const { MessageType, decodeData } = require("../helpers/wire");

/** The event of a numbered packet: sender, number, and a load perhaps. */
const EVENT = "packet";

const BROADCAST = String(MessageType.BROADCAST);
const SPAN = 2 ** 32;
const PAGE = 2_000;

/**
 * A packet as one number.
 *
 * @param {number} sender
 * @param {number} seq
 */
function packetId(sender, seq) {
  return sender * SPAN + seq;
}

/** A packet for people, `sender:number`. @param {number} id */
function packetName(id) {
  return `${Math.floor(id / SPAN)}:${id % SPAN}`;
}

/** What was published, in the stream's order. */
class Truth {
  constructor() {
    /** @type {{ id: number, rooms: string[] }[]} to all when there are no rooms */
    this.packets = [];
    /** Packets that stand in the stream more than once; readers are to drop all but the first. */
    this.doubled = 0;
  }

  /**
   * What a client in these rooms gets, in order.
   *
   * @param {string[]} own
   * @returns {number[]}
   */
  for(own) {
    return this.packets
      .filter(({ rooms }) => rooms.length === 0 || rooms.some((room) => own.includes(room)))
      .map(({ id }) => id);
  }
}

/**
 * Reads the whole stream.
 *
 * @param {import("../helpers/clients").Admin} admin
 * @param {string} [stream]
 */
async function readTruth(admin, stream = "socket.io") {
  const truth = new Truth();
  const known = new Set();
  let last = "0-0";
  for (;;) {
    const entries = await admin.command("XRANGE", stream, `(${last}`, "+", "COUNT", PAGE);
    for (const [entryId, fields] of entries) {
      last = entryId;
      const type = fields[fields.indexOf("type") + 1];
      const data = fields[fields.indexOf("data") + 1];
      const { packet, opts } = type === BROADCAST ? decodeData(data) : {};
      if (packet?.data[0] !== EVENT) {
        continue;
      }
      const id = packetId(packet.data[1], packet.data[2]);
      if (known.has(id)) {
        truth.doubled++;
        continue;
      }
      known.add(id);
      truth.packets.push({ id, rooms: opts.rooms });
    }
    if (entries.length < PAGE) {
      return truth;
    }
  }
}

module.exports = { EVENT, packetId, packetName, readTruth, Truth };

// The numbered packets of the chaos tests, and what the stream says of them: the truth that clients
// are checked against.

"use strict";

const { MessageType, decodeData } = require("../helpers/wire");

/** The event of a numbered packet: sender, number, and a load perhaps. */
const EVENT = "packet";

const BROADCAST = String(MessageType.BROADCAST);
const SPAN = 2 ** 32;
const PAGE = 2_000;
/** So many faults are shown in full. */
const SAMPLES = 10;

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
    /** The first of these, with both entries, for people. @type {string[]} */
    this.samples = [];
    /** By rooms: many clients are in the same ones. @type {Map<string, { count: number, ids: number[] }>} */
    this.known = new Map();
  }

  /** Where a packet went; nothing for all. @param {number} id */
  roomsOf(id) {
    return this.packets.find((packet) => packet.id === id)?.rooms;
  }

  /**
   * What a client in these rooms gets, in order.
   *
   * @param {string[]} own
   * @returns {number[]}
   */
  for(own) {
    const key = own.join();
    const count = this.packets.length;
    const known = this.known.get(key);
    if (known?.count === count) {
      return known.ids;
    }
    const ids = this.packets
      .filter(({ rooms }) => rooms.length === 0 || rooms.some((room) => own.includes(room)))
      .map(({ id }) => id);
    this.known.set(key, { count, ids });
    return ids;
  }
}

/** Follows the stream, which may be trimmed behind it. */
class TruthReader {
  /**
   * @param {import("../helpers/clients").Admin} admin
   * @param {string} [stream]
   */
  constructor(admin, stream = "socket.io") {
    this.admin = admin;
    this.stream = stream;
    this.truth = new Truth();
    /** Packets with their entries. @type {Map<number, string>} */
    this.known = new Map();
    this.last = "0-0";
  }

  /** Reads on to the stream's end. @returns {Promise<Truth>} all that it has read */
  async read() {
    for (;;) {
      const { stream, last } = this;
      const entries = await this.admin.command("XRANGE", stream, `(${last}`, "+", "COUNT", PAGE);
      for (const [entryId, fields] of entries) {
        this.last = entryId;
        this.#add(entryId, fields);
      }
      if (entries.length < PAGE) {
        return this.truth;
      }
    }
  }

  /** @param {string} entryId @param {string[]} fields */
  #add(entryId, fields) {
    const type = fields[fields.indexOf("type") + 1];
    const data = fields[fields.indexOf("data") + 1];
    const { packet, opts } = type === BROADCAST ? decodeData(data) : {};
    if (packet?.data[0] !== EVENT) {
      return;
    }
    const id = packetId(packet.data[1], packet.data[2]);
    const first = this.known.get(id);
    if (first !== undefined) {
      this.truth.doubled++;
      if (this.truth.samples.length < SAMPLES) {
        this.truth.samples.push(`${packetName(id)} stands at ${first} and at ${entryId}`);
      }
      return;
    }
    this.known.set(id, entryId);
    this.truth.packets.push({ id, rooms: opts.rooms });
  }
}

/**
 * Reads the whole stream.
 *
 * @param {import("../helpers/clients").Admin} admin
 */
function readTruth(admin) {
  return new TruthReader(admin).read();
}

/**
 * What the stream holds of what was emitted: of each sender all of it, in order; of one that was
 * killed, all of it up to somewhere.
 */
class Publishing {
  /**
   * @param {Truth} truth
   * @param {Map<number, number>} emitted how many, by sender; unknown for those that were killed
   */
  constructor(truth, emitted) {
    this.published = truth.packets.length;
    this.doubled = truth.doubled;
    this.disordered = 0;
    this.missing = 0;
    /** What was wrong, for people. */
    this.samples = [...truth.samples];
    /** @type {Map<number, number[]>} */
    const numbers = new Map([...emitted.keys()].map((sender) => [sender, []]));
    for (const { id } of truth.packets) {
      const sender = Math.floor(id / SPAN);
      const own = numbers.get(sender) ?? [];
      numbers.set(sender, own);
      own.push(id % SPAN);
    }
    for (const [sender, own] of numbers) {
      const count = emitted.get(sender) ?? Math.max(...own) + 1;
      const disordered = own.filter((seq, place) => place > 0 && seq < own[place - 1]).length;
      const missing = count - own.length;
      this.disordered += disordered;
      this.missing += missing;
      if (missing + disordered > 0) {
        const there = new Set(own);
        const lacking = Array.from({ length: count }, (_, seq) => seq).filter(
          (seq) => !there.has(seq),
        );
        this.samples.push(
          `sender ${sender}: ${missing} missing (${lacking.slice(0, SAMPLES)}), ${disordered} out of order`,
        );
      }
    }
  }

  /** How many faults in all; doubles are for the readers to drop. */
  get faults() {
    return this.disordered + this.missing;
  }
}

module.exports = { EVENT, packetId, packetName, readTruth, Publishing, Truth, TruthReader };

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
    /**
     * To all when there are no rooms; `at` is when it was written, by the server's clock.
     *
     * @type {{ id: number, rooms: string[], at?: number }[]}
     */
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
    const at = Number(entryId.split("-")[0]);
    this.truth.packets.push({ id, rooms: opts.rooms, at });
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
 * @typedef {object} Refusal a time in which Redis refused packets
 * @property {number} from
 * @property {number} to
 * @property {"all" | "oversized"} packets which
 *
 * @typedef {object} Emitted what a node has emitted
 * @property {number} [count] unknown if it was killed
 * @property {number[]} [oversized] packets that are larger than Redis takes at some times
 */

/**
 * What the stream holds of what was emitted: of each sender all of it, in order; of one that was
 * killed, all of it up to somewhere. Only what Redis has refused may be missing. A node writes its
 * packets one after the other, so the turn of one that is missing came between those of its
 * neighbours: Redis must have refused packets at some moment between the two.
 */
class Publishing {
  /** @type {Map<number, { seq: number, at: number }[]>} by sender */
  #written = new Map();
  /** @type {Map<number, Emitted>} */
  #emitted;
  /** @type {Refusal[]} */
  #refusals;

  /**
   * @param {Truth} truth
   * @param {Map<number, Emitted>} emitted by sender
   * @param {Refusal[]} [refusals]
   */
  constructor(truth, emitted, refusals = []) {
    this.#emitted = emitted;
    this.#refusals = refusals;
    this.published = truth.packets.length;
    this.doubled = truth.doubled;
    this.disordered = 0;
    this.missing = 0;
    /** How many packets Redis has refused, by sender. @type {Map<number, number>} */
    this.refused = new Map();
    /** What was wrong, for people. */
    this.samples = [...truth.samples];
    for (const sender of emitted.keys()) {
      this.#written.set(sender, []);
    }
    for (const { id, at = 0 } of truth.packets) {
      const sender = Math.floor(id / SPAN);
      const own = this.#written.get(sender) ?? [];
      this.#written.set(sender, own);
      own.push({ seq: id % SPAN, at });
    }
    for (const [sender, own] of this.#written) {
      this.#judge(sender, own);
    }
  }

  /** @param {number} sender @param {{ seq: number, at: number }[]} own */
  #judge(sender, own) {
    const disordered = own.filter(({ seq }, place) => place > 0 && seq < own[place - 1].seq).length;
    own.sort((a, b) => a.seq - b.seq);
    const there = new Set(own.map(({ seq }) => seq));
    const count = this.#emitted.get(sender)?.count ?? (own.at(-1)?.seq ?? -1) + 1;
    const lacking = Array.from({ length: count }, (_, seq) => seq).filter((seq) => !there.has(seq));
    const missing = lacking.filter((seq) => !this.wasRefused(packetId(sender, seq)));
    this.refused.set(sender, lacking.length - missing.length);
    this.disordered += disordered;
    this.missing += missing.length;
    if (missing.length + disordered > 0) {
      this.samples.push(
        `sender ${sender}: ${missing.length} missing (${missing.slice(0, SAMPLES)}), ` +
          `${disordered} out of order`,
      );
    }
  }

  /** Whether Redis can have refused a packet that is not in the stream. @param {number} id */
  wasRefused(id) {
    const [sender, seq] = [Math.floor(id / SPAN), id % SPAN];
    const own = this.#written.get(sender) ?? [];
    const next = own.findIndex((each) => each.seq > seq);
    const after = next < 0 ? Infinity : own[next].at;
    const before = own.at(next < 0 ? -1 : next - 1);
    const since = before !== undefined && before.seq < seq ? before.at : 0;
    const isOversized = this.#emitted.get(sender)?.oversized?.includes(seq) ?? false;
    return this.#refusals.some(
      ({ from, to, packets }) => since <= to && after >= from && (packets === "all" || isOversized),
    );
  }

  /** How many faults in all; doubles are for the readers to drop. */
  get faults() {
    return this.disordered + this.missing;
  }
}

module.exports = { EVENT, packetId, packetName, readTruth, Publishing, Truth, TruthReader };

"use strict";
// Unpacks what the engine hands over; src/node/batch.rs packs it.

/** What comes next in a batch. */
const RARE = 0;
const BROADCAST = 1;

/** Bits of a broadcast's flags. */
const VOLATILE = 1;
const COMPRESS_SAID = 2;
const COMPRESS = 4;

/** The local part of a publish that is for nobody here, or was encoded; JS does all others. */
const LOCAL_NOTHING = 1;
const LOCAL_PACKET = 2;
/** @type {Encoded} */
const NOTHING = [];
const NO_BYTES = Buffer.alloc(0);

/**
 * @typedef {import("./native-binding").NativeBatch} NativeBatch
 * @typedef {import("./native-binding").NativeEvent} NativeEvent
 * @typedef {import("./fan-out").Encoded} Encoded
 */

/** A broadcast of another node, ready to be sent. */
class Broadcast {
  /**
   * @param {number} namespace
   * @param {number} ms
   * @param {number} seq
   * @param {number} flags
   * @param {Set<string>} rooms
   * @param {Set<string>} except
   * @param {Encoded} encoded
   */
  constructor(namespace, ms, seq, flags, rooms, except, encoded) {
    this.namespace = namespace;
    this.ms = ms;
    this.seq = seq;
    this.rooms = rooms;
    this.except = except;
    this.volatile = (flags & VOLATILE) !== 0 || undefined;
    this.compress = flags & COMPRESS_SAID ? (flags & COMPRESS) !== 0 : undefined;
    this.encoded = encoded;
  }

  /** The entry's ID: made only for those who want it. */
  get id() {
    return `${this.ms}-${this.seq}`;
  }
}

/**
 * @typedef {object} Handlers
 * @property {(broadcast: Broadcast) => void} broadcast
 * @property {(ticket: number, id: string, encoded?: Encoded) => void} published an empty packet is
 * for nobody here
 * @property {(event: NativeEvent) => void} rare
 * @property {(error: unknown) => void} thrown one of the others has thrown
 */

/**
 * @param {NativeBatch} batch
 * @param {Handlers} handlers
 */
function unpack({ numbers, names, packets, attachments = NO_BYTES, rare }, handlers) {
  let at = 0;
  let nameAt = 0;
  let packetAt = 0;
  let attachmentAt = 0;
  let rareAt = 0;

  /** @param {number} count @param {number} lengths where the names' lengths stand */
  const takeNames = (count, lengths) => {
    /** @type {Set<string>} */
    const taken = new Set();
    for (let i = 0; i < count; i++) {
      const length = numbers[lengths + i];
      taken.add(names.slice(nameAt, nameAt + length));
      nameAt += length;
    }
    return taken;
  };

  const takePacket = () => {
    /** @type {Encoded} */
    const encoded = [packets[packetAt++]];
    for (let count = numbers[at++]; count > 0; count--) {
      const length = numbers[at++];
      encoded.push(attachments.subarray(attachmentAt, attachmentAt + length));
      attachmentAt += length;
    }
    return encoded;
  };

  const takeBroadcast = () => {
    const [namespace, ms, seq] = [numbers[at + 1], numbers[at + 2], numbers[at + 3]];
    const [flags, rooms, except] = [numbers[at + 4], numbers[at + 5], numbers[at + 6]];
    at += 7;
    const included = takeNames(rooms, at);
    const excluded = takeNames(except, at + rooms);
    at += rooms + except;
    return new Broadcast(namespace, ms, seq, flags, included, excluded, takePacket());
  };

  const takePublished = () => {
    const ticket = numbers[at + 1];
    const id = `${numbers[at + 2]}-${numbers[at + 3]}`;
    const local = numbers[at + 4];
    at += 5;
    const nothing = local === LOCAL_NOTHING ? NOTHING : undefined;
    handlers.published(ticket, id, local === LOCAL_PACKET ? takePacket() : nothing);
  };

  while (at < numbers.length) {
    const kind = numbers[at];
    try {
      if (kind === BROADCAST) {
        handlers.broadcast(takeBroadcast());
      } else if (kind === RARE) {
        at += 1;
        handlers.rare(rare[rareAt++]);
      } else {
        takePublished();
      }
    } catch (error) {
      handlers.thrown(error);
    }
  }
}

module.exports = { unpack, Broadcast };

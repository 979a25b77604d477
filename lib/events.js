"use strict";
// Unpacks the batches of events that the engine hands over. src/node/batch.rs packs them.

const { EncodedPacket, frameLength } = require("./encoded-packet");

/** The kinds of events in a batch. */
const RARE = 0;
const BROADCAST = 1;
const MESSAGE = 3;

/** Bits of a broadcast's flags. */
const VOLATILE = 1;
const COMPRESS_SAID = 2;
const COMPRESS = 4;

/** The local part of a publish, as a number in the batch. */
const PART_FOR_NOBODY = 1;
const PART_PACKET = 2;
/** No local socket gets the broadcast. */
const FOR_NOBODY = Symbol("for nobody");
/** JS does the local part, from the message that it published. */
const BY_JS = Symbol("by JS");
const NO_BYTES = Buffer.alloc(0);
/** @type {any[]} */
const NONE = [];
/** In place of a text's length: the text is its whole slab. */
const WHOLE_SLAB = 0;
/** One shared set, since nobody adds to the rooms of a packet. @type {Set<string>} */
const NO_ROOMS = new Set();

/**
 * @typedef {import("./native-binding").NativeEvent} NativeEvent
 * @typedef {Extract<NativeEvent, { kind: "entry" }>} NativeEntry
 *
 * @typedef {EncodedPacket | typeof FOR_NOBODY | typeof BY_JS} LocalPart the local part of a publish:
 * a packet as local clients get it, or one of the two symbols
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
   * @param {EncodedPacket} encoded
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

  /** The entry's ID. It is built only when somebody reads it. */
  get id() {
    return `${this.ms}-${this.seq}`;
  }
}

/**
 * @typedef {object} Handlers
 * @property {(broadcast: Broadcast) => void} broadcast
 * @property {(ticket: number, ms: number, seq: number, localPart: LocalPart) => void} published with
 * both numbers of the entry's ID
 * @property {(namespace: number, payload: Uint8Array) => void} message msgpack that came over PUB/SUB
 * @property {(event: NativeEvent) => void} rare
 * @property {(error: unknown) => void} thrown called if one of the others throws
 */

/**
 * @param {import("./batch-memory").Batch} batch
 * @param {Handlers} handlers
 * @param {{ begin(): void, end(handlers: Handlers): void }} [turn] called around each event
 * @returns {number} how many events it had
 */
function unpack(batch, handlers, turn) {
  const { numbers, length = numbers.length, names = "", texts = NONE, frames = NONE } = batch;
  const { framesAt = 0, attachments = NO_BYTES, rare = NONE } = batch;
  let at = 0;
  let nameAt = 0;
  let slab = 0;
  let textAt = 0;
  let frameAt = framesAt;
  let attachmentAt = 0;
  let rareAt = 0;

  /** @param {number} length */
  const takeAttachment = (length) => {
    const start = attachmentAt;
    attachmentAt += length;
    return attachments.subarray(start, attachmentAt);
  };

  /** @param {number} count @param {number} lengths index of the names' lengths in `numbers` */
  const takeNames = (count, lengths) => {
    if (count === 0) {
      return NO_ROOMS;
    }
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
    const length = numbers[at];
    let count = numbers[at + 1];
    at += 2;
    if (textAt === texts[slab].length) {
      slab++;
      textAt = 0;
      frameAt = 0;
    }
    const isWhole = length === WHOLE_SLAB;
    const textEnd = isWhole ? texts[slab].length : textAt + length;
    /** @type {(string | Buffer)[]} */
    const parts = [isWhole ? texts[slab] : texts[slab].slice(textAt, textEnd)];
    textAt = textEnd;
    if (count === 0) {
      const start = frameAt;
      frameAt = isWhole ? frames[slab].length : start + frameLength(length);
      return new EncodedPacket(parts, frames[slab], start, frameAt);
    }
    for (; count > 0; count--) {
      parts.push(takeAttachment(numbers[at++]));
    }
    return new EncodedPacket(parts);
  };

  const takeBroadcast = () => {
    const start = at;
    const rooms = numbers[start + 5];
    const except = numbers[start + 6];
    const included = takeNames(rooms, start + 7);
    const excluded = takeNames(except, start + 7 + rooms);
    at = start + 7 + rooms + except;
    const flags = numbers[start + 4];
    const packet = takePacket();
    return new Broadcast(
      numbers[start + 1],
      numbers[start + 2],
      numbers[start + 3],
      flags,
      included,
      excluded,
      packet,
    );
  };

  const takePublished = () => {
    const start = at;
    const part = numbers[start + 4];
    at += 5;
    const withoutPacket = part === PART_FOR_NOBODY ? FOR_NOBODY : BY_JS;
    handlers.published(
      numbers[start + 1],
      numbers[start + 2],
      numbers[start + 3],
      part === PART_PACKET ? takePacket() : withoutPacket,
    );
  };

  let count = 0;
  while (at < length) {
    count++;
    const kind = numbers[at];
    turn?.begin();
    try {
      if (kind === BROADCAST) {
        handlers.broadcast(takeBroadcast());
      } else if (kind === RARE) {
        at += 1;
        handlers.rare(rare[rareAt++]);
      } else if (kind === MESSAGE) {
        const start = at;
        at += 3;
        handlers.message(numbers[start + 1], takeAttachment(numbers[start + 2]));
      } else {
        takePublished();
      }
    } catch (error) {
      handlers.thrown(error);
    }
    turn?.end(handlers);
  }
  return count;
}

module.exports = { unpack, Broadcast, BY_JS, FOR_NOBODY };

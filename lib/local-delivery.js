"use strict";
// Sends packets to the local sockets of a namespace, and keeps them for recovered sockets that are not
// connected yet.

const { ClusterAdapter } = require("socket.io-adapter");

const { encode, fanOut } = require("./fan-out");
const { noteSent } = require("./last-sent");
const { EncodedPacket } = require("./encoded-packet");
const { canFanOut, isStockBroadcast } = require("./stock");
const { tickOf } = require("./tick");
const { isForAbsent } = require("./missed");

/** The adapter that does the local part; ClusterAdapter's own methods publish. */
const InMemoryAdapter = Object.getPrototypeOf(ClusterAdapter.prototype);

/**
 * @typedef {import("./targets").Targets} Targets
 *
 * @typedef {object} Origin what is known of a packet that was emitted here
 * @property {() => any} [packet] gives the packet as it was emitted, with its offset
 * @property {import("./tick").Tick} [tick]
 */

class LocalDelivery {
  #adapter;
  #recovery;
  #writes;

  /**
   * @param {any} adapter
   * @param {import("./held-writes").HeldWrites} writes
   * @param {import("./recovery").Recovery} [recovery]
   */
  constructor(adapter, writes, recovery) {
    this.#adapter = adapter;
    this.#writes = writes;
    this.#recovery = recovery;
  }

  /**
   * The local part of a broadcast of this node.
   *
   * @param {any} packet
   * @param {Targets} opts
   * @returns {import("./own-message").Local}
   */
  partOf(packet, opts) {
    const tick = opts.flags?.local ? undefined : tickOf(Boolean(opts.flags?.volatile));
    return (offset, localPart, leaving) => {
      // A copy, because a broadcast of a parent namespace gives the same packet to each child, and each
      // child adds its own offset.
      const original = () => {
        // Only that of an event is certain to be a list.
        const data = Array.isArray(packet.data) ? [...packet.data] : packet.data;
        return this.#withOffset({ ...packet, nsp: this.#adapter.nsp.name, data }, opts, offset);
      };
      if (leaving) {
        leaving.send(original(), opts.flags);
      } else if (localPart instanceof EncodedPacket) {
        const origin = { packet: original, tick };
        this.sendEncoded(localPart, opts, opts.flags ?? {}, offset, origin);
      } else {
        this.sendDecoded(original(), opts, offset, tick);
      }
    };
  }

  /**
   * Sends a broadcast of another node that the engine has not encoded.
   *
   * @param {any} packet
   * @param {Targets} opts
   * @param {string} [offset] the ID of its entry
   */
  sendReceived(packet, opts, offset) {
    this.sendDecoded(this.#withOffset(packet, opts, offset), opts, offset);
  }

  /**
   * @param {any} packet
   * @param {Targets} opts
   * @param {string} [offset]
   */
  #withOffset(packet, opts, offset) {
    if (offset !== undefined) {
      this.#adapter.addOffsetIfNecessary(packet, opts, offset);
    }
    return packet;
  }

  /**
   * @param {EncodedPacket} encoded
   * @param {Targets} opts
   * @param {{ volatile?: boolean, compress?: boolean }} flags
   * @param {string} [offset] the ID of its entry
   * @param {Origin} [origin]
   */
  sendEncoded(encoded, opts, flags, offset, origin) {
    if (canFanOut(this.#adapter)) {
      this.#fanOut(encoded, opts, flags, offset, origin);
    } else {
      const { rooms, except } = opts;
      const packet = origin?.packet?.() ?? encoded.decode(this.#adapter.nsp);
      this.#broadcast(packet, { rooms, except, flags }, offset, origin?.tick);
    }
    if (this.#recovery?.isExpecting && !flags.volatile) {
      this.#recovery.keep({ encoded }, opts);
    }
  }

  /**
   * @param {any} packet
   * @param {Targets} opts
   * @param {string} [offset] the ID of its entry, if it has one
   * @param {import("./tick").Tick} [tick] in which it was emitted, if it was emitted here
   */
  sendDecoded(packet, opts, offset, tick) {
    this.#broadcast(packet, opts, offset, tick);
    if (this.#recovery?.isExpecting && !opts.flags?.volatile && isForAbsent(packet)) {
      this.#recovery.keep({ packet }, opts);
    }
  }

  /**
   * @param {import("./fan-out").Encoded} encoded
   * @param {Targets} opts
   * @param {{ volatile?: boolean, compress?: boolean, local?: boolean }} flags
   * @param {string} [offset]
   * @param {Origin} [origin]
   */
  #fanOut(encoded, opts, flags, offset, origin) {
    const note = this.#isNoted(flags) ? { offset } : undefined;
    fanOut(this.#adapter, encoded, opts, flags, origin, note, this.#writes);
  }

  /**
   * @param {any} packet
   * @param {Targets} opts
   * @param {string} [offset]
   * @param {import("./tick").Tick} [tick]
   */
  #broadcast(packet, opts, offset, tick) {
    const adapter = this.#adapter;
    const flags = opts.flags ?? {};
    if (isStockBroadcast()) {
      this.#fanOut(encode(adapter, packet), opts, flags, offset, { tick });
      return;
    }
    if (this.#isNoted(flags)) {
      adapter.apply(opts, (/** @type {any} */ socket) => noteSent(socket, offset));
    }
    const targets = tick?.hasVolatile ? tick.withoutOccupied(adapter, opts) : opts;
    InMemoryAdapter.broadcast.call(adapter, packet, targets);
  }

  /**
   * Whether clients that come back without the packet get it again.
   *
   * @param {{ volatile?: boolean, local?: boolean }} flags
   */
  #isNoted({ volatile, local }) {
    return this.#recovery !== undefined && !volatile && !local;
  }
}

module.exports = { LocalDelivery };

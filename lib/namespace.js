"use strict";
// An open namespace, as the engine knows it. The calls for each packet and each room name it by a
// number, which is read once: they cost less than methods of a native object.

const { PLACEHOLDER } = require("./codec");
const { publish, publishBinary, setHasSockets, setRoom } = require("./native");

class Namespace {
  /** Its calls work as long as this object is reachable. */
  #native;
  #place;
  /** True when another adapter has it. The one before still may publish. */
  isHandedOn = false;

  /**
   * @param {import("./native-binding").NativeNamespace} native
   * @param {string} name
   */
  constructor(native, name) {
    this.#native = native;
    this.name = name;
    this.#place = native.place;
    /** Names the namespace in events. */
    this.handle = native.handle;
  }

  /** Names it in calls. */
  get place() {
    return this.#place;
  }

  /** @returns {Namespace} the same for another adapter, which tells the engine its rooms from now on */
  handOn() {
    this.isHandedOn = true;
    return new Namespace(this.#native, this.name);
  }

  /** @param {boolean} hasSockets whether sockets of this node are connected to it */
  setHasSockets(hasSockets) {
    if (!this.isHandedOn) {
      setHasSockets(this.#place, hasSockets);
    }
  }

  /**
   * Tells the engine that a room has got its first member, or lost its last one.
   *
   * @param {string} room
   * @param {boolean} hasMembers
   * @param {number} begun how many events of the slice JS has begun to handle
   * @param {number} passed how many of the broadcasts that were left out JS has passed
   * @returns {string | undefined} the entry up to which broadcasts to the room did not come here;
   * absent without connection state recovery
   */
  setRoom(room, hasMembers, begun, passed) {
    if (!this.isHandedOn) {
      return setRoom(this.#place, room, hasMembers, begun, passed) ?? undefined;
    }
  }

  /**
   * Writes a message. Throws if the engine refuses it, or if the data cannot be encoded.
   *
   * @param {number} type
   * @param {import("./codec").EncodedData} data
   * @returns {number} the ticket of the event that tells how it has ended
   */
  publish(type, { json, attachments, msgpack }) {
    if (json === undefined) {
      return publish(this.#place, type, undefined, msgpack?.());
    }
    if (attachments === undefined) {
      return publish(this.#place, type, json);
    }
    const ticket = publishBinary(this.#place, type, json, PLACEHOLDER, attachments);
    // Only JS encodes lone surrogates and data that is nested very deeply.
    return ticket ?? publish(this.#place, type, undefined, msgpack?.());
  }
}

module.exports = { Namespace };

"use strict";
// The messages of a namespace that wait for their turn, by the rooms that they are for. It is made when a
// socket is disconnected, and lives until the tick ends: a server may disconnect thousands of sockets
// in one tick, and must not look at all messages for each.

const { OwnMessage } = require("./own-message");

/** @typedef {import("./own-message").MessageContext} MessageContext */

class Waiting {
  #engine;
  #context;
  /** In the order of the calls. @type {OwnMessage[]} */
  #all = [];
  /** The places in `#all` of the broadcasts to each room. @type {Map<any, number[]>} */
  #byRoom = new Map();
  /** The places of those to everyone. @type {number[]} */
  #toEveryone = [];
  #hasChanges = false;
  /** The newest ticket when that was last looked at. @type {number | undefined} */
  #last;

  /**
   * @param {import("./engine").Engine} engine
   * @param {MessageContext} context of the namespace
   */
  constructor(engine, context) {
    this.#engine = engine;
    this.#context = context;
  }

  /** All of them, in order. Some may be done by now. */
  all() {
    const { gathered, publishes } = this.#engine;
    gathered.flush();
    const added = this.#last === undefined ? publishes.open() : publishes.openBehind(this.#last);
    this.#last = publishes.newest;
    for (const message of added) {
      if (message instanceof OwnMessage && message.isOf(this.#context)) {
        this.#add(message);
      }
    }
    return this.#all;
  }

  /**
   * Those that may concern a socket, in order: all of them if one may change its rooms, otherwise the last.
   *
   * @param {Iterable<any>} rooms of the socket
   * @param {number} most
   */
  concerning(rooms, most) {
    const all = this.all();
    if (this.#hasChanges) {
      // One of them may change the socket's rooms.
      return all;
    }
    const places = new Set(this.#toEveryone.slice(-most));
    for (const room of rooms) {
      const ofRoom = this.#byRoom.get(room) ?? [];
      ofRoom.slice(-most).forEach((place) => places.add(place));
    }
    const last = [...places].sort((a, b) => a - b).slice(-most);
    return last.map((place) => all[place]);
  }

  /** @param {OwnMessage} message */
  #add(message) {
    const place = this.#all.push(message) - 1;
    if (!message.isBroadcast) {
      this.#hasChanges = true;
    } else if (message.opts.rooms.size === 0) {
      this.#toEveryone.push(place);
    }
    for (const room of message.opts.rooms) {
      const places = this.#byRoom.get(room);
      if (places === undefined) {
        this.#byRoom.set(room, [place]);
      } else {
        places.push(place);
      }
    }
  }
}

module.exports = { Waiting };

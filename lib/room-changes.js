"use strict";
// Joins, leaves and disconnects of this node's sockets, as calls and messages of the cluster ask for them.
// A listener of the user's that throws keeps none of them from being done: the nodes would not agree any
// more on who is in a room, and who is connected.

const { MessageType } = require("socket.io-adapter");

const { guardEnd } = require("./end-socket");
const { endInOrder } = require("./leaving");
const { warnOfHandler } = require("./warnings");

/** @typedef {import("./targets").Targets} Targets */

/** @type {Record<number, (socket: any, data: any, opts: Targets) => void>} */
const CHANGES = {
  [MessageType.SOCKETS_JOIN](socket, { rooms }) {
    // A room may have to be created, then joined, and left, then deleted.
    complete(2 * rooms.length, () => socket.join(rooms));
  },
  [MessageType.SOCKETS_LEAVE](socket, { rooms }) {
    rooms.forEach((/** @type {any} */ room) => complete(2, () => socket.leave(room)));
  },
  [MessageType.DISCONNECT_SOCKETS](socket, { close }, { flags }) {
    if (!flags?.local) {
      endInOrder(socket);
    }
    // With its connection, its sockets in other namespaces end as well.
    [...(close ? socket.client.sockets.values() : [socket])].forEach(guardEnd);
    complete(0, () => socket.disconnect(close));
  },
};

/** @param {number} type of a message @returns {boolean} */
const isChange = (type) => type in CHANGES;

/**
 * @param {any} adapter
 * @param {number} type
 * @param {any} data of the message
 * @param {Targets} opts
 */
function change(adapter, type, data, opts) {
  adapter.apply(opts, (/** @type {any} */ socket) => CHANGES[type](socket, data, opts));
}

/**
 * socket.io-adapter stops at an error. Then it goes on at the next call, behind the listeners that were
 * called.
 *
 * @param {number} events for which listeners may throw
 * @param {() => void} work
 */
function complete(events, work) {
  let left = events;
  do {
    try {
      work();
      return;
    } catch (error) {
      warnOfHandler("a handler has thrown while sockets joined, left or were disconnected", error);
    }
  } while (left-- > 0);
}

module.exports = { change, isChange };

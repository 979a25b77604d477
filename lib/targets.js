"use strict";
// The sockets that an operation is for, in socket.io's form and in the form of messages.

/**
 * @typedef {object} Targets
 * @property {Set<string>} rooms empty: all sockets
 * @property {Set<string>} [except]
 * @property {Record<string, any>} [flags]
 */

/** @param {Targets} targets */
function encodeTargets({ rooms, except, flags }) {
  return { rooms: [...rooms], except: [...(except ?? [])], flags };
}

/**
 * @param {{ rooms: any[], except: any[], flags?: Record<string, any> }} targets
 * @returns {Targets & { except: Set<string> }}
 */
function decodeTargets({ rooms, except, flags }) {
  return { rooms: new Set(rooms), except: new Set(except), flags };
}

module.exports = { encodeTargets, decodeTargets };

"use strict";
// Calls the user's listeners of an event. If one throws, this warns and calls the others.

const { warnOfHandler } = require("./warnings");

/**
 * @param {import("node:events").EventEmitter} emitter
 * @param {string} event
 * @param {any[]} args
 */
function emitToAll(emitter, event, ...args) {
  // Raw listeners: one that was added with `once` removes itself when it is called.
  for (const listener of emitter.rawListeners(event)) {
    try {
      listener.apply(emitter, args);
    } catch (error) {
      warnOfHandler(`a listener for "${event}" has thrown`, error);
    }
  }
}

module.exports = { emitToAll };

"use strict";
// Calls listeners of the user's for something that happens to them all: one that throws, which is
// warned of, keeps nothing from the others.

const { warnOfHandler } = require("./warnings");

/**
 * @param {import("node:events").EventEmitter} emitter
 * @param {string} event
 * @param {any[]} args
 */
function emitToAll(emitter, event, ...args) {
  // Raw: a listener for once takes itself away when it is called.
  for (const listener of emitter.rawListeners(event)) {
    try {
      listener.apply(emitter, args);
    } catch (error) {
      warnOfHandler(`a listener for "${event}" has thrown`, error);
    }
  }
}

module.exports = { emitToAll };

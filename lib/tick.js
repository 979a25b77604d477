"use strict";
// What this node emits in one tick. With an adapter that delivers at once, a packet occupies the
// connections that it is written to until the tick ends, so a volatile packet behind it is discarded.
// Here both come back from Redis later, perhaps in different ticks, and the connection may be free again.

const { nextTick } = require("./timers");

/** @typedef {import("./targets").Targets} Targets */

class Tick {
  /** True if the tick has emitted a volatile packet. Only then does anything have to be kept. */
  hasVolatile = false;
  /** The clients that got a packet of this tick. @type {Set<any>} */
  #occupied = new Set();

  /**
   * Whether engine.io would have written a packet of this tick to the client.
   *
   * @param {any} client of socket.io
   * @param {boolean} isVolatile
   */
  mayWrite(client, isVolatile) {
    if (isVolatile && this.#occupied.has(client)) {
      return false;
    }
    this.#occupied.add(client);
    return true;
  }

  /**
   * The targets of a packet of this tick without the sockets to which it may not be written.
   *
   * @param {any} adapter
   * @param {Targets} opts
   * @returns {Targets}
   */
  withoutOccupied(adapter, opts) {
    const except = new Set(opts.except);
    adapter.apply(opts, (/** @type {any} */ { id, client }) => {
      if (!this.mayWrite(client, Boolean(opts.flags?.volatile))) {
        except.add(id);
      }
    });
    return { ...opts, except };
  }
}

/** @type {Tick | undefined} */
let current;

/**
 * The tick in which a packet is emitted.
 *
 * @param {boolean} isVolatile whether the packet is
 */
function tickOf(isVolatile) {
  if (current === undefined) {
    current = new Tick();
    nextTick(() => (current = undefined));
  }
  current.hasVolatile ||= isVolatile;
  return current;
}

module.exports = { Tick, tickOf };

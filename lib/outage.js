"use strict";
// Reports the end of an outage that the engine has warned of.

const { performance } = require("node:perf_hooks");

const { clearTimeout, setTimeout } = require("./timers");
const { warn } = require("./warnings");

/** How long everything must work before an outage counts as over, ms. The connections of an engine
 * break and return one after the other, and Redis may refuse to work at first. */
const QUIET = 1_000;

class Outage {
  /** When its first warning came; undefined if there is no outage. @type {number | undefined} */
  #since;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;

  /** The engine has warned of an outage. */
  begin() {
    clearTimeout(this.#timer);
    this.#since ??= performance.now();
  }

  /** Everything works, so far. */
  end() {
    clearTimeout(this.#timer);
    const since = this.#since;
    if (since === undefined) {
      return;
    }
    const seconds = ((performance.now() - since) / 1_000).toFixed(1);
    this.#timer = setTimeout(() => {
      this.#since = undefined;
      warn(
        "SIO_REDIS_WORKS_AGAIN",
        `Redis works again, ${seconds} s after the warning of the outage; packets that have waited ` +
          "are sent on",
      );
    }, QUIET).unref();
  }

  /** The engine has ended. */
  stop() {
    clearTimeout(this.#timer);
  }
}

module.exports = { Outage };

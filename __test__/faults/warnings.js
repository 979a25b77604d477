// The adapter's warnings in this process: collected instead of printed.

"use strict";

/** @typedef {{ code: string, message: string }} RedisWarning */

/** @type {RedisWarning[]} */
const warnings = [];

const printers = process.listeners("warning");
process.removeAllListeners("warning");
process.on("warning", (warning) => {
  const { name, code, message } = /** @type {any} */ (warning);
  if (name === "SocketIORedisWarning") {
    warnings.push({ code, message });
  } else {
    printers.forEach((print) => print(warning));
  }
});

/** Takes what was warned of so far. @returns {RedisWarning[]} */
function takeWarnings() {
  return warnings.splice(0);
}

module.exports = { warnings, takeWarnings };

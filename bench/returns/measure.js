"use strict";
// Runs one scenario with one kind of adapter.

const { Field } = require("./field");

/**
 * @param {import("./scenarios").Scenario} scenario
 * @param {object} options
 * @param {import("./field").Kind} options.kind
 * @param {number} options.clients
 * @param {import("./scenarios").Size} options.size
 */
async function measure({ adapterOptions, run }, { kind, clients, size }) {
  const field = new Field({ kind, clients, adapterOptions });
  try {
    await field.start();
    await run(field, size);
    return await field.judge();
  } finally {
    await field.close();
  }
}

module.exports = { measure };

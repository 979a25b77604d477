"use strict";
// Runs one scenario with one kind of adapter.

const { Field } = require("./field");

/**
 * @param {import("./scenarios").Scenario} scenario
 * @param {object} options
 * @param {import("./field").Kind} options.kind
 * @param {number} options.clients
 * @param {number} [options.interval] ms between two packets of a node
 * @param {import("./scenarios").Size} options.size
 */
async function measure({ adapterOptions, run }, { kind, clients, interval, size }) {
  const field = new Field({ kind, clients, interval, adapterOptions });
  try {
    await field.start();
    await run(field, size);
    return await field.judge();
  } finally {
    await field.close();
  }
}

module.exports = { measure };

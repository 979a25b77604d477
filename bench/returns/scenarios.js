"use strict";
// The ways in which clients lose their connections, and come back: the scenarios of `npm run returns`.

const { setTimeout: sleep } = require("node:timers/promises");

const { waitFor } = require("../../__test__/helpers/wait");
const { ROOMS } = require("./field");

/**
 * @typedef {import("./field").Field} Field
 *
 * @typedef {object} Scenario
 * @property {string} name
 * @property {Record<string, unknown>} [adapterOptions]
 * @property {(field: Field, size: Size) => Promise<void>} run
 *
 * @typedef {object} Size
 * @property {number} cycles how often each client is dropped in the jitter scenario
 * @property {number} every ms between two drops of a client in it
 */

/** Holds clients back until the returned function is called. @param {Field} field */
function holdBack(field) {
  let release = () => {};
  field.mayReturn = new Promise((resolve) => (release = () => resolve(undefined)));
  return release;
}

/** @param {Field} field */
async function begin(field) {
  await field.startTraffic();
  await field.everyoneHasReceived();
  await field.watch();
}

/** Destroys the connections of all clients. @param {Field} field */
async function destroyAll(field) {
  field.places.forEach(({ proxy }) => proxy.cut());
  await waitFor(() => field.clients.every(({ isConnected }) => !isConnected));
}

/** @param {Field} field @param {number} index */
async function deployOne(field, index) {
  const [old] = [field.places[index]];
  if (field.open.length === 1) {
    await field.deploy(old);
    await field.addNode(index);
  } else {
    // The new node is there before the old one goes.
    await field.addNode(field.places.length);
    await field.deploy(old);
  }
}

/** More than `maxLen` has by default. */
const MANY = 15_000;

/** @type {Scenario[]} */
const SCENARIOS = [
  {
    name: "connection destroyed, back after 1 to 2 s",
    async run(field) {
      await begin(field);
      await destroyAll(field);
      await field.everyoneIsBack();
    },
  },
  {
    name: "rolling deploy of all nodes (io.close())",
    async run(field) {
      await begin(field);
      const count = field.places.length;
      for (let i = 0; i < count; i++) {
        await deployOne(field, i);
        await sleep(500);
      }
      await field.everyoneIsBack();
    },
  },
  {
    name: "half-open: back before the old node has noticed",
    async run(field) {
      await begin(field);
      // The links swallow everything from now on; new connections take other links.
      field.places.forEach(({ proxy }) => proxy.links.forEach((link) => link.stall()));
      field.clients.forEach((client) => client.cut());
      await field.everyoneIsBack();
      // The old node notices at its ping time-out. Nobody may feel it, also at the next return.
      await sleep(8_000);
      await destroyAll(field);
      await field.everyoneIsBack();
    },
  },
  {
    name: "its node was killed (SIGKILL)",
    async run(field) {
      await begin(field);
      await sleep(1_000);
      const [victim] = field.open;
      await field.kill(victim);
      await field.addNode(0);
      await waitFor(() => field.returns > 0 || field.travels.size > 0);
      await field.everyoneIsBack();
    },
  },
  {
    name: "had not received a single packet",
    async run(field) {
      field.fromStart = true;
      // In memory, what the node has told the client at its connection has an offset.
      field.clients.forEach(({ socket }) => Object.assign(socket, { _lastOffset: undefined }));
      const release = holdBack(field);
      await destroyAll(field);
      await field.startTraffic();
      await sleep(2_000);
      release();
      await field.everyoneIsBack();
    },
  },
  {
    name: "away longer than maxLen packets",
    // So little that what was missed is not in the memory of the nodes.
    adapterOptions: { historyBytes: 2 ** 16 },
    async run(field) {
      await begin(field);
      const release = holdBack(field);
      await destroyAll(field);
      const [{ agent }] = field.open;
      for (let i = 0; i < 10; i++) {
        await agent.call("burstToRooms", ROOMS, MANY / 10);
        await sleep(100);
      }
      release();
      await field.everyoneIsBack();
    },
  },
  {
    name: "jitter: every client dropped again and again",
    async run(field, { cycles, every }) {
      await begin(field);
      await Promise.all(
        field.clients.map(async (client) => {
          await sleep(Math.random() * every);
          for (let i = 0; i < cycles; i++) {
            await waitFor(() => client.isConnected, { timeout: 60_000, interval: 50 });
            client.cut();
            await sleep(every);
          }
        }),
      );
      await field.everyoneIsBack();
    },
  },
];

module.exports = { SCENARIOS };

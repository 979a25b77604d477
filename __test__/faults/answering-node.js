// A Socket.IO node in a process of its own, for requests of others: it answers them, until a test
// mutes it, kills it, stops it or keeps its event loop busy.

"use strict";

const { startChildNode } = require("../helpers/remote-node");

/** @type {import("../helpers/node-agent").Extend} */
const extend = (running) => {
  /** @returns {any} */
  const adapter = () => running().io.of("/").adapter;
  return {
    setup(io, { index }) {
      // @ts-ignore sent by other servers
      io.on("ask", (arg, answer) => answer?.({ index, arg }));
    },
    methods: {
      /** From now on it answers no request of another node. */
      mute() {
        adapter().doPublishResponse = () => Promise.resolve();
      },
      closeServer: () => running().io.close(),
    },
  };
};

/**
 * @param {object} options
 * @param {import("../helpers/remote-node").Reachable} options.redis
 * @param {number} [options.index] its answers name it by this
 * @param {import("../helpers/adapters").Kind} [options.kind] which adapter it runs, default ours
 * @param {Record<string, unknown>} [options.adapterOptions]
 */
function startAnsweringNode({ kind = "native", index = 1, ...options }) {
  return startChildNode({ ...options, kind, index, client: "url", extension: __filename });
}

module.exports = Object.assign(extend, { startAnsweringNode });

// The process behind node-process.js: a Socket.IO node that does what it is told over IPC.

"use strict";

const { createServer } = require("node:http");
const { Server } = require("socket.io");
const { createAdapterOf, isUpstream, kindOf, optionsOf } = require("../helpers/adapters");
const { createRedisClient } = require("../helpers/clients");

const { index, url, adapterOptions, serverOptions } = JSON.parse(process.argv[2]);
const createAdapter = createAdapterOf(0); // as ADAPTER says

/** @param {object} message */
const tell = (message) => process.send?.(message);

process.on("warning", (warning) => {
  const { name, code, message } = /** @type {any} */ (warning);
  if (name === "SocketIORedisWarning") {
    tell({ warning: { code, message } });
  }
});

/** What `createAdapter` takes: upstream needs a client. */
async function adapterArgument() {
  const kind = kindOf(0);
  if (!isUpstream(kind)) {
    return url;
  }
  const { hostname: host, port } = new URL(url);
  const server = { host, port: Number(port), url, options: {} };
  return (await createRedisClient(server, { kind })).adapterArgument;
}

/** @param {Server} io */
function actionsOf(io) {
  /** @returns {any} */
  const adapter = () => io.of("/").adapter;
  return {
    serverCount: () => adapter().serverCount(),
    stats: () => adapter().stats(),
    /** From now on it answers no request of another node. */
    mute() {
      adapter().doPublishResponse = () => Promise.resolve();
    },
    /** @param {number} ms in which the event loop does nothing else */
    block(ms) {
      setTimeout(() => {
        const end = Date.now() + ms;
        while (Date.now() < end);
      });
    },
    /** @param {[string, ...any[]]} packet */
    emit: (...packet) => void io.emit(...packet),
    closeAdapter: () => adapter().close(),
    closeIo: () => io.close(),
    fetchSockets: async () => (await io.fetchSockets()).map(({ id }) => id),
    /** @param {number} timeout */
    broadcastWithAck: (timeout) => io.timeout(timeout).emitWithAck("ask"),
  };
}

async function main() {
  const http = createServer();
  const io = new Server(http, {
    adapter: createAdapter(await adapterArgument(), {
      blockTimeInMs: 200,
      ...optionsOf(kindOf(0)),
      ...adapterOptions,
    }),
    ...serverOptions,
  });
  // @ts-ignore sent by other servers
  io.on("ask", (arg, answer) => answer?.({ index, arg }));
  /** @type {Record<string, (...args: any[]) => any>} */
  const actions = actionsOf(io);

  process.on("message", async (/** @type {any} */ { call, action, args }) => {
    try {
      tell({ call, result: await actions[action](...args) });
    } catch (error) {
      tell({ call, error: String(error) });
    }
  });
  process.on("disconnect", () => process.exit());
  http.listen(0, "127.0.0.1", () => {
    tell({ port: /** @type {import("node:net").AddressInfo} */ (http.address()).port });
  });
}

main();

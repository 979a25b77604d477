// Programs that end by themselves, or do not; run as processes by lifecycle.test.js:
//
//     node exit-scenarios.js <scenario> <Redis URL>

"use strict";

const { createServer } = require("node:http");
const { Server } = require("socket.io");
const { createAdapterOf, kindOf, optionsOf } = require("../helpers/adapters");

const [scenario, url] = process.argv.slice(2);

const http = createServer();
const io = new Server(http, {
  adapter: createAdapterOf(0)(url, {
    blockTimeInMs: 60_000, // no read ends by itself meanwhile
    ...optionsOf(kindOf(0)),
  }),
});

function emit() {
  for (let i = 0; i < 10; i++) {
    io.emit("packet", i);
  }
}

/** @type {Record<string, () => unknown>} */
const scenarios = {
  /** Nothing at all: the server does not listen. */
  idle() {},

  /** Emits, and has nothing else to do. */
  emit,

  /** Emits and closes in one breath. */
  emitAndClose() {
    emit();
    return io.close();
  },

  /** Listens, is connected, closes. */
  async listenAndClose() {
    http.listen(0, "127.0.0.1");
    await io.of("/").adapter.serverCount();
    await io.close();
  },

  /** Asks the other nodes, and has nothing else to do. */
  async ask() {
    const sockets = await io.fetchSockets();
    console.log(`${sockets.length} sockets`);
  },

  /** Ends in the middle of everything. */
  async exit() {
    await io.of("/").adapter.serverCount();
    emit();
    process.exit(7);
  },
};

scenarios[scenario]();

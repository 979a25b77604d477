// Emits, closes, and prints which resources look open then, as `jest --detectOpenHandles` would see it:
// those of async_hooks that were not destroyed and are none of Node.js itself.

"use strict";

const asyncHooks = require("node:async_hooks");
const { once } = require("node:events");

const OF_NODE = new Set([
  ...Object.keys(/** @type {any} */ (asyncHooks).asyncWrapProviders),
  ...["Timeout", "Immediate", "TickObject", "Microtask"],
]);
/** @type {Map<number, string>} */
const open = new Map();
asyncHooks
  .createHook({
    init: (id, type) => void (OF_NODE.has(type) || open.set(id, type)),
    destroy: (id) => void open.delete(id),
  })
  .enable();

const { Server } = require("socket.io");
const { createAdapter } = require("../../index");

async function main() {
  const io = new Server(0, { adapter: createAdapter(process.argv[2]) });
  await once(io.httpServer, "listening");
  io.emit("to all", 1);
  io.emit("binary", Buffer.from("x"));
  io.local.emit("local");
  io.socketsJoin("a");
  await io.fetchSockets();
  await io.close();
  // What was destroyed is reported a turn later.
  await new Promise((resolve) => setTimeout(resolve, 100));
  console.log(JSON.stringify([...new Set(open.values())]));
}

main();

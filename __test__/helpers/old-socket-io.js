// For `--require`: everything in this process gets an old version of Socket.IO, OLD_SOCKET_IO, which is
// a dependency under another name (package.json). With the oldest supported version of Socket.IO comes
// that of socket.io-adapter; the others get the newest, as `npm install` would give them.

"use strict";

const Module = require("node:module");

const { OLD_SOCKET_IO } = process.env;
/** @type {Record<string, string>} */
const ALIASES = { "socket.io": `socket.io-${OLD_SOCKET_IO}` };
if (OLD_SOCKET_IO === "4.6.0") {
  ALIASES["socket.io-adapter"] = "socket.io-adapter-2.5.4";
}

const loader = /** @type {any} */ (Module);
const resolve = loader._resolveFilename;
loader._resolveFilename = (/** @type {string} */ request, /** @type {any[]} */ ...rest) =>
  resolve(ALIASES[request] ?? request, ...rest);

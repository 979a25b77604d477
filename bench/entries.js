"use strict";
// Stream entries as other nodes write them.

const { encode } = require("@msgpack/msgpack");

/** The uid of the other node. */
const UID = "be9cbe9cbe9cbe9c";

/**
 * A broadcast to a room.
 *
 * @param {{ room?: string, bytes: number, binary?: boolean }} options
 * @returns {Record<string, string>}
 */
function entryOf({ room = "nobody", bytes, binary = false }) {
  const opts = { rooms: [room], except: [], flags: {} };
  const payload = binary ? Buffer.alloc(bytes, 7) : "x".repeat(bytes);
  const message = { opts, packet: { type: 2, data: ["bench", payload], nsp: "/" } };
  const data = binary ? Buffer.from(encode(message)).toString("base64") : JSON.stringify(message);
  return { uid: UID, nsp: "/", type: "3", data };
}

/** An entry that shows that a node has handled everything before it. @param {string} name */
const endOf = (name) => ({
  ...{ uid: UID, nsp: "/", type: "9" },
  data: JSON.stringify({ packet: ["bench:end", name] }),
});

module.exports = { entryOf, endOf };

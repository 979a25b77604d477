// Which sessions of connected clients are written, and when, without Redis: the time between two looks is
// that of the product.

"use strict";

const assert = require("node:assert/strict");
const { EventEmitter } = require("node:events");
const { test } = require("node:test");
const { LiveSessions } = require("../../lib/live-sessions");
const { settle, waitFor } = require("../helpers/wait");

/** A little longer than the time between two looks, ms. */
const LOOK = 5_500;

// Breaks when each client that sends something costs two commands every 5 s, and when a change of its
// data is not seen.
test("the session of an active client is written when its data has changed", async () => {
  /** @type {string[]} */
  const written = [];
  const sessions = new LiveSessions(true, (states) =>
    states.forEach(({ live }) => written.push(live.socket.data.name)),
  );
  const socket = {
    ...{ id: "id", pid: "pid", rooms: new Set(["id"]), data: { name: "first" } },
    conn: new EventEmitter(),
  };
  sessions.add(socket);
  await waitFor(() => written.length === 1);
  socket.conn.emit("data");
  await settle(LOOK);
  assert.deepEqual(written, ["first"]);
  socket.data.name = "second";
  socket.conn.emit("data");
  await settle(LOOK);
  assert.deepEqual(written, ["first", "second"]);
  sessions.close();
});

// Which sessions of connected clients are written, and when, without Redis: the time between two looks is
// that of the product.

"use strict";

const assert = require("node:assert/strict");
const { EventEmitter } = require("node:events");
const { test } = require("node:test");
const { LiveSessions } = require("../../lib/live-sessions");
const { settle, waitFor } = require("../helpers/wait");

/** @param {string} id @param {any} [data] */
const socketOf = (id, data = {}) => ({
  ...{ id, pid: `private ${id}`, rooms: new Set([id]), data },
  conn: new EventEmitter(),
});

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
  const socket = socketOf("id", { name: "first" });
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

// Breaks when a client whose node is killed right after it has connected has no session, and when each
// of many that connect costs a write of its own.
test("a session is written at once, and those behind it together", async () => {
  /** @type {string[][]} */
  const written = [];
  const sessions = new LiveSessions(true, (states) =>
    written.push(states.map(({ live }) => live.socket.id)),
  );
  sessions.add(socketOf("first"));
  // The handlers of its connection run in this turn of the event loop.
  assert.deepEqual(written, []);
  await new Promise(setImmediate);
  assert.deepEqual(written, [["first"]]);
  sessions.add(socketOf("second"));
  await new Promise(setImmediate);
  sessions.add(socketOf("third"));
  sessions.change("first");
  await waitFor(() => written.length === 2);
  assert.deepEqual(written[1], ["second", "third", "first"]);
  sessions.close();
});

// Breaks when one session that cannot be encoded takes others with it.
test("a session whose data cannot be encoded leaves the others alone", async () => {
  /** @type {string[]} */
  const written = [];
  const sessions = new LiveSessions(true, (states) =>
    states.forEach(({ live }) => written.push(live.socket.id)),
  );
  sessions.add(socketOf("odd", { large: 1n }));
  sessions.add(socketOf("sound"));
  await waitFor(() => written.length > 0);
  assert.deepEqual(written, ["sound"]);
  sessions.close();
});

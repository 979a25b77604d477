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

/**
 * The sessions of a node to which Redis denies nothing.
 *
 * @param {(states: import("../../lib/live-sessions").State[]) => unknown} write
 * @param {(live: import("../../lib/live-sessions").LiveSession) => void} [drop]
 */
function startSessions(write, drop = () => {}) {
  const writeAll = (/** @type {import("../../lib/live-sessions").State[]} */ states) => {
    write(states);
    return true;
  };
  return new LiveSessions(true, writeAll, drop, () => false);
}

/** A little longer than the time between two looks, ms. */
const LOOK = 5_500;

// Breaks when each client that sends something costs two commands every 5 s, and when a change of its
// data is not seen.
test("the session of an active client is written when its data has changed", async () => {
  /** @type {string[]} */
  const written = [];
  const sessions = startSessions((states) =>
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
  const sessions = startSessions((states) =>
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
  const sessions = startSessions((states) =>
    states.forEach(({ live }) => written.push(live.socket.id)),
  );
  sessions.add(socketOf("odd", { large: 1n }));
  sessions.add(socketOf("sound"));
  await waitFor(() => written.length > 0);
  assert.deepEqual(written, ["sound"]);
  sessions.close();
});

// Breaks when the client of a killed node is recovered as it was before its data could not be encoded.
test("what was written of a session goes when it cannot be encoded any more", async () => {
  /** @type {string[]} */
  const done = [];
  const sessions = startSessions(
    (states) => states.forEach(({ live }) => done.push(`written ${live.socket.id}`)),
    ({ socket, generation }) => done.push(`dropped ${socket.id} ${generation}`),
  );
  const [fresh, restored] = [socketOf("fresh"), socketOf("restored", { large: 1n })];
  sessions.add(fresh);
  sessions.add(restored, 2);
  await waitFor(() => done.length === 2);
  fresh.data = { large: 1n };
  sessions.change("fresh");
  await waitFor(() => done.length === 3);
  fresh.data = {};
  sessions.change("fresh");
  await waitFor(() => done.length === 4);
  const last = ["dropped fresh 1", "written fresh"];
  assert.deepEqual(done, ["dropped restored 2", "written fresh", ...last]);
  sessions.close();
});

// Breaks when the data of all clients is encoded in one turn of the event loop.
test("sessions that take long leave other callbacks their turn", async (t) => {
  const COUNT = 60;
  /** How long one session takes, ms. */
  const TIME = 3;
  let turn = 0;
  let isOver = false;
  t.after(() => (isOver = true));
  (function next() {
    turn++;
    isOver || setImmediate(next);
  })();
  /** The turns in which sessions were encoded. @type {number[]} */
  const turns = [];
  const data = {
    get takesLong() {
      turns.push(turn);
      for (const end = performance.now() + TIME; performance.now() < end;);
      return true;
    },
  };
  const assertSliced = () => {
    const each = turns.map((one) => turns.filter((other) => other === one).length);
    assert.ok(Math.max(...each) <= COUNT / 4, `${Math.max(...each)} sessions in one turn`);
    turns.length = 0;
  };
  let written = 0;
  const sessions = startSessions((states) => (written += states.length));
  const sockets = Array.from({ length: COUNT }, (_, i) => socketOf(`socket ${i}`, data));
  sockets.forEach((socket) => sessions.add(socket));
  await waitFor(() => written === COUNT);
  assertSliced();
  // The next look.
  await waitFor(() => turns.length >= COUNT, { timeout: 2 * LOOK });
  assertSliced();
  assert.equal(written, COUNT, "nothing has changed");
  sessions.close();
});

// Breaks when each namespace listens by itself: Node.js warns of a leak from eleven on.
test("all namespaces of a connection share one listener, which goes with the last", async () => {
  const { conn } = socketOf("any");
  const NAMESPACES = 12;
  /** @type {string[]} */
  const written = [];
  const all = Array.from({ length: NAMESPACES }, (_, i) => {
    const socket = { ...socketOf(`in namespace ${i}`), conn };
    const sessions = startSessions((states) => written.push(states[0].live.socket.id));
    sessions.add(socket);
    return { socket, sessions };
  });
  assert.equal(conn.listenerCount("data"), 1);
  await waitFor(() => written.length === NAMESPACES);
  await settle(LOOK);
  all.forEach(({ socket }) => (socket.data = { has: "changed" }));
  conn.emit("data");
  await waitFor(() => written.length === 2 * NAMESPACES);
  assert.equal(new Set(written.slice(NAMESPACES)).size, NAMESPACES);
  for (const [i, { socket, sessions }] of all.entries()) {
    assert.equal(conn.listenerCount("data"), 1);
    if (i % 2) {
      sessions.close();
    } else {
      sessions.remove(socket.id);
    }
  }
  assert.equal(conn.listenerCount("data"), 0);
});

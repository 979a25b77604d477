// What comes and goes on a node of the soak besides its clients: rooms, requests, and namespaces that
// are made when a client asks for them, and go with it.

"use strict";

/** Namespaces that a client may ask for. */
const DYNAMIC = /^\/dynamic \d+$/;

/** The event by which such a namespace greets its clients. */
const HELLO = "hello";

/** ms between two rooms. */
const INTERVAL = 10;
/** One in so many comes with a request to all nodes. */
const REQUESTS = 10;
/** Rooms that exist at a time. */
const ROOMS = 50;

/** @param {import("socket.io").Server} io */
function serveDynamic(io) {
  io.of(DYNAMIC).on("connection", (socket) => {
    socket.join(HELLO);
    socket.nsp.to(HELLO).emit(HELLO, { number: 1 });
  });
}

/**
 * Has clients of this node join rooms that were never there before, sends something to these, and has
 * them leave again.
 *
 * @param {import("socket.io").Server} io
 * @param {string} node names it: each node has rooms of its own
 * @returns {() => void} ends it
 */
function startChurn(io, node) {
  /** @type {{ id: string, room: string }[]} */
  const open = [];
  let next = 0;
  const timer = setInterval(() => {
    const ids = [...io.sockets.sockets.keys()];
    const number = next++;
    if (ids.length > 0) {
      const [id, room] = [ids[number % ids.length], `churn ${node} ${number}`];
      // Half of them through the cluster.
      if (number % 2 === 0) {
        io.in(id).socketsJoin(room);
      } else {
        io.sockets.sockets.get(id)?.join(room);
      }
      io.to(room).emit("churn", { number });
      open.push({ id, room });
    }
    if (open.length > ROOMS) {
      const { id, room } = /** @type {{ id: string, room: string }} */ (open.shift());
      io.in(id).socketsLeave(room);
    }
    if (number % REQUESTS === 0) {
      io.timeout(5_000)
        .fetchSockets()
        .catch(() => {});
    }
  }, INTERVAL);
  return () => {
    clearInterval(timer);
    open.forEach(({ id, room }) => io.in(id).socketsLeave(room));
  };
}

module.exports = { serveDynamic, startChurn, HELLO };

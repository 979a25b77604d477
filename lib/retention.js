"use strict";
// How long the entries of a server's or an emitter's streams are kept: the options `maxLen` and `maxAge`,
// or, with connection state recovery, what the server's clients need.

const { sessionLifetime } = require("./session-lifetime");

/** The number of entries that a stream keeps by default, as in @socket.io/redis-streams-adapter. */
const LENGTH = 10_000;
/** The default bound while entries are kept by age, and of emitters. */
const LONGEST = 100_000;
/** Engine.IO's defaults, ms. */
const PING_INTERVAL = 25_000;
const PING_TIMEOUT = 20_000;

/**
 * @param {{ maxLen?: number, maxAge?: number } | null | undefined} given the user's options, checked
 * @param {any} [server] the Socket.IO server; none for an emitter
 */
function retentionOf(given, server) {
  const neededAge = neededBy(server);
  const { maxLen, maxAge } = given ?? {};
  // A user who has set `maxLen` has decided what Redis keeps.
  const byDefault = maxLen === undefined ? neededAge : 0;
  const age = maxAge ?? byDefault;
  // An emitter does not know whether the servers keep entries by age. What it trims is gone for them all,
  // while servers that keep less trim what it leaves.
  const isEmitter = server === undefined;
  const length = maxLen ?? (age > 0 || isEmitter ? LONGEST : LENGTH);
  return {
    maxLen: length,
    maxAge: age,
    // By default, age never makes the stream shorter than it would be without.
    minLen: maxAge === undefined ? Math.min(LENGTH, length) : 0,
    neededAge,
  };
}

/**
 * How old the offset of a client may be that comes back in time, ms. A broken connection may be noticed
 * late, and the client's session is kept from then on.
 *
 * @param {any} server
 */
function neededBy(server) {
  const recovery = server?.opts.connectionStateRecovery;
  const lifetime = recovery ? sessionLifetime(recovery.maxDisconnectionDuration) : 0;
  if (lifetime === 0) {
    return 0;
  }
  const { pingInterval = PING_INTERVAL, pingTimeout = PING_TIMEOUT } = server.opts;
  // socket.io does not check these two.
  const noticed = Math.floor(Number(pingInterval) + Number(pingTimeout));
  return Math.min(lifetime + (noticed > 0 ? noticed : 0), Number.MAX_SAFE_INTEGER);
}

module.exports = { retentionOf };

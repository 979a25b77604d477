// Socket.IO's own adapter with connection state recovery, as a kind of adapter for tests and benchmarks:
// one node, and nothing outside of it.

"use strict";

const { SessionAwareAdapter } = require("socket.io-adapter");

const createAdapter = () => SessionAwareAdapter;

module.exports = { createAdapter };

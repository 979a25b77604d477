"use strict";
// Prints lines for `DEBUG=socket.io-redis-streams-adapter`: upstream's name, which users know.

module.exports = require("debug")("socket.io-redis-streams-adapter");

// What a node of these tests does with a new client (see node-agent.js).

"use strict";

/** @type {import("../helpers/node-agent").Extend} */
module.exports = () => ({
  setup: (io) =>
    io.on("connection", (socket) => {
      if (!socket.recovered) {
        socket.join("room");
        socket.data.name = "welcome";
      }
    }),
});

// Whether this process has noticed that servers have closed its connections: by /proc, so on Linux.

"use strict";

const { readFileSync } = require("node:fs");
const { waitFor } = require("../helpers/wait");

/** Waits until this process has noticed as well. @param {number[]} ports of the servers */
async function isNoticed(ports) {
  const CLOSE_WAIT = "08"; // closed by the other side only
  const ends = ports.map((port) => port.toString(16).toUpperCase().padStart(4, "0"));
  const left = () =>
    readFileSync("/proc/self/net/tcp", "utf8")
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , to, state]) => state === CLOSE_WAIT && ends.includes(to.split(":")[1]));
  await waitFor(() => left().length === 0, { what: "the ends of connections to be noticed" });
}

module.exports = { isNoticed };

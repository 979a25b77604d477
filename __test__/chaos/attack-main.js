// A process that connects to a node over and over, as hostile clients would that make up sessions,
// or, to compare, as clients without any: node attack-main.js '{"url", "attempts", "kind", …}'.
// It answers with what came of it.

"use strict";

const { WebSocket } = require("ws");
const { random } = require("../faults/random");

const CONNECTIONS = 20;

/**
 * @typedef {object} Attack
 * @property {string} url of the node
 * @property {"hostile" | "plain"} kind
 * @property {number} attempts
 * @property {number} seed
 * @property {string[]} offsets of entries that exist
 *
 * @typedef {object} Outcome
 * @property {number} fresh attempts that were given a new session
 * @property {number} restored
 * @property {number} refused attempts that were given none
 */

/** @type {Attack} */
const { url, kind, attempts, seed, offsets } = JSON.parse(process.argv[2]);
const chance = random(seed);

/** @template T @param {T[]} list @returns {T} */
const oneOf = (list) => list[Math.floor(chance() * list.length)];
const randomPid = () => Array.from({ length: 20 }, () => Math.floor(chance() * 36).toString(36));

const LONG = "9".repeat(50_000);
const PIDS = [
  ...["", "*", "../../x", "\0", "a\r\nFLUSHALL\r\n", "é🎉", "\ud800", LONG, "socket.io", "x y"],
  ...Array.from({ length: 20 }, () => randomPid().join("")),
];
const OFFSETS = [
  ...["0-0", "0-1", "1-1", "1-0", "9999999999999-0", "18446744073709551615-18446744073709551615"],
  ...["99999999999999999999-0", "", "-", "+", "$", "*", "(1-1", "1-1-1", "abc", "1e3-1", "é", "\0"],
  ...["1-1\r\nFLUSHALL", ` 1-1`, `${LONG}-0`, `1-${LONG}`, LONG],
  ...offsets,
];

/** What one attempt says of itself. */
function auth() {
  return kind === "hostile" ? { pid: oneOf(PIDS), offset: oneOf(OFFSETS) } : {};
}

/** @type {Outcome} */
const outcome = { fresh: 0, restored: 0, refused: 0 };
let started = 0;

/** Claims that are to be made again, on another connection. @type {object[]} */
const again = [];
let open = 0;

/** One attempt after another on one connection; the node may close it, then on the next one. */
function connect() {
  const socket = new WebSocket(`${url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`);
  /** @type {any} */
  let claim;
  open++;

  const attempt = () => {
    if (again.length === 0 && started === attempts) {
      socket.close();
      return;
    }
    claim = again.pop();
    if (claim === undefined) {
      started++;
      claim = auth();
    }
    socket.send(`40${JSON.stringify(claim)}`);
  };

  /** @param {string} answer */
  const onAnswer = (answer) => {
    const { pid } = claim;
    claim = undefined;
    if (answer.startsWith("44")) {
      outcome.refused++;
      return attempt();
    }
    outcome[JSON.parse(answer.slice(2)).pid === pid ? "restored" : "fresh"]++;
    socket.send("41");
    // The node has to have left the namespace before the next one, or it closes the connection.
    setTimeout(attempt, 1);
  };

  socket.on("message", (data) => {
    const packet = String(data);
    if (packet.startsWith("0")) {
      attempt();
    } else if (packet === "2") {
      socket.send("3");
    } else if (/^4[04]/.test(packet)) {
      onAnswer(packet);
    }
  });
  socket.on("error", () => {}); // "close" follows
  socket.on("close", () => {
    open--;
    if (claim !== undefined) {
      again.push(claim);
      connect();
    } else if (open === 0) {
      process.send?.(outcome);
      process.disconnect?.();
    }
  });
}

for (let i = 0; i < CONNECTIONS; i++) {
  connect();
}

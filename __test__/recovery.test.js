// Recovered sockets on their way through the middlewares (lib/arrivals.js): which packets are kept for
// them, and that a packet costs what it costs however many of them there are. The parity and the chaos
// tests have real clients.
//
// Breaks when `keep` goes through all sockets that arrive, or when it forgets which rooms they are in.

"use strict";

const assert = require("node:assert/strict");
const { performance } = require("node:perf_hooks");
const { test } = require("node:test");
const { setImmediate: turn } = require("node:timers/promises");
const { encodeMsgpack } = require("../lib/codec");
const { Recovery } = require("../lib/recovery");

/** A namespace and its recovery, into which sessions come back. */
class Returns {
  sockets = new Map();
  /** @type {Map<string, any[]>} what each socket was sent before its CONNECT */
  sent = new Map();

  /** How often another node was asked for. */
  asked = 0;

  /** @param {object} [sessions] replaces what the engine does with sessions */
  constructor(sessions) {
    const server = { opts: { connectionStateRecovery: { maxDisconnectionDuration: 120_000 } } };
    const nsp = { name: "/", server, sockets: this.sockets };
    const restore = async (/** @type {string} */ _nsp, /** @type {string} */ pid) => ({
      session: encodeMsgpack({ sid: pid, pid, rooms: [pid, `room of ${pid}`], data: {} }),
      missed: [],
      generation: 2,
      position: "1-0",
    });
    const countSubscribers = () => {
      this.asked++;
      return new Promise(() => {});
    };
    const engine = {
      sessions: { restore, end() {}, drop() {}, refuse() {}, ...sessions },
      countSubscribers,
    };
    const options = /** @type {any} */ ({ liveSessions: false, heartbeatTimeout: 10_000 });
    this.recovery = new Recovery({ nsp }, /** @type {any} */ (engine), options);
  }

  /** socket.io has made the socket; its middlewares run. @param {string} sid */
  async arrive(sid) {
    const { rooms } = await this.recovery.restore(sid, "1-0");
    this.recovery.join(sid, rooms, new Map());
  }

  /** The middlewares have accepted the socket. @param {string} sid */
  connect(sid) {
    /** @type {any[]} */
    const sent = [];
    this.sent.set(sid, sent);
    const packet = (/** @type {any} */ { data }) => sent.push(data[0]);
    this.sockets.set(sid, { id: sid, pid: sid, packet, conn: {} });
    this.recovery.join(sid, [sid], new Map());
  }

  /** @param {string} event @param {string[]} rooms @param {string[]} [except] */
  emit(event, rooms, except = []) {
    const packet = { type: 2, nsp: "/", data: [event, "2-0"] };
    this.recovery.keep({ packet }, { rooms: new Set(rooms), except: new Set(except) });
  }
}

test("a packet is kept for the arriving sockets that it is for", async () => {
  const returns = new Returns();
  await Promise.all(["a", "b", "c"].map((sid) => returns.arrive(sid)));
  returns.emit("all", []);
  returns.emit("all but b", [], ["room of b"]);
  returns.emit("a and b", ["room of a", "b", "a"]);
  returns.emit("a, but not b", ["a", "b"], ["room of b"]);
  returns.recovery.leave("a", "room of a");
  returns.emit("nobody", ["room of a"]);
  returns.recovery.join("a", ["late"], new Map());
  returns.emit("late", ["late"]);
  returns.recovery.leaveAll("c");
  returns.emit("nobody", ["c", "room of c"]);
  returns.connect("a");
  returns.emit("b", ["a", "b"]);
  returns.connect("b");
  assert.equal(returns.recovery.isExpecting, false);
  assert.deepEqual(returns.sent.get("a"), ["all", "all but b", "a and b", "a, but not b", "late"]);
  assert.deepEqual(returns.sent.get("b"), ["all", "a and b", "b"]);
});

test("a packet for others costs the same however many sockets arrive", async () => {
  /** @param {number} count @returns {Promise<number>} ms for many packets */
  const cost = async (count) => {
    const returns = new Returns();
    for (let i = 0; i < count; i++) {
      await returns.arrive(`s${i}`);
    }
    const rounds = [0, 0, 0].map(() => {
      const start = performance.now();
      for (let i = 0; i < 5_000; i++) {
        returns.emit("event", ["elsewhere"]);
      }
      return performance.now() - start;
    });
    for (let i = 0; i < count; i++) {
      returns.connect(`s${i}`);
    }
    return Math.min(...rounds);
  };
  await cost(2); // warms up
  const [few, many] = [await cost(2), await cost(4_000)];
  assert.ok(many < 50 * few, `${many} ms with 4,000 sockets, ${few} ms with 2`);
});

test("a restore costs the same however many sockets arrive", async () => {
  const returns = new Returns();
  let next = 0;
  /** @param {number} count @returns {Promise<number>} ms */
  const arrive = async (count) => {
    const start = performance.now();
    for (let i = 0; i < count; i++) {
      await returns.arrive(`s${next++}`);
    }
    return performance.now() - start;
  };
  await arrive(1_000); // warms up
  const few = await arrive(1_000);
  await arrive(20_000);
  const many = await arrive(1_000);
  for (let i = 0; i < next; i++) {
    returns.connect(`s${i}`);
  }
  assert.ok(many < 4 * few, `${many} ms behind 22,000 sockets, ${few} ms behind 1,000`);
});

test("a restore that learns after close() that another node has the session asks nobody", async () => {
  /** @type {(answer: object) => void} */
  let answer = () => {};
  const returns = new Returns({
    restore: () => new Promise((resolve) => (answer = resolve)),
  });
  const restored = returns.recovery.restore("a", "1-0");
  await turn();
  returns.recovery.close();
  answer({ kind: "owned", owner: "0123456789abcdef" });
  await assert.rejects(restored, /the adapter is closed/);
  assert.equal(returns.asked, 0);
});

test("a session that has no record in Redis is not deleted there", async () => {
  /** @type {string[]} */
  const dropped = [];
  const returns = new Returns({
    drop: (/** @type {string} */ _nsp, /** @type {string} */ pid) => dropped.push(pid),
  });
  returns.connect("new");
  returns.recovery.leaveAll("new");
  await returns.arrive("restored");
  returns.connect("restored");
  returns.recovery.leaveAll("restored");
  assert.deepEqual(dropped, ["restored"]);
});

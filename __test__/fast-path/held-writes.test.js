// A burst of packets for many clients takes one write for each client and slice, and writes that take
// long leave the event loop to others in between.
//
// Breaks when each packet is written by itself, when the writes of a slice are all done at once, or when
// a connection stays held.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const parser = require("socket.io-parser");
const { useCluster } = require("../helpers/cluster");
const { waitFor } = require("../helpers/wait");

const CLIENTS = 40;
const PACKETS = 64;
/** How long a write takes, ms. */
const WORK = 1;
/** The most writes in a turn of the event loop: after so many the engine looks at the clock. */
const MOST = 16;
/** More writes than a client needs for the packets, and far fewer than packets. */
const FEW = PACKETS / 4;
/** The node that emits, and the one whose clients are looked at. */
const [FAR, NEAR] = [0, 1];

/** @type {[string, Record<string, any>][]} */
const variants = [
  ["a burst", {}],
  ["a burst, with recovery", { connectionStateRecovery: {} }],
  ["a burst, with a parser of the user's", { parser: { ...parser } }],
];
for (const [name, serverOptions] of variants) {
  describe(name, () => {
    const context = useCluster({ nodes: 2, clientsPerNode: CLIENTS, serverOptions });

    const conns = () =>
      [...context.cluster.io(NEAR).of("/").sockets.values()].map(
        (socket) => /** @type {any} */ (socket.conn),
      );

    /**
     * Emits packets, and keeps the event loop from everything else until an engine has received them.
     *
     * @param {string} event
     * @param {string} [request] an event for the other server that follows them
     */
    function burst(event, request) {
      const { cluster } = context;
      const { delivered } = cluster.adapter(NEAR).stats();
      for (let i = 0; i < PACKETS; i++) {
        cluster.io(FAR).emit(event, i);
      }
      if (request) {
        cluster.io(FAR).serverSideEmit(request);
      }
      const all = delivered + PACKETS + (request ? 1 : 0);
      do {
        cluster.adapter(FAR).stats(); // hands over what the tick has gathered
      } while (cluster.adapter(NEAR).stats().delivered < all);
    }

    /** @param {string} event @param {(index: number) => boolean} [isOf] which clients get it */
    async function everybodyGets(event, isOf = () => true) {
      const numbers = Array.from({ length: PACKETS }, (_, i) => i);
      for (const [i, client] of context.cluster.clientsOf(NEAR).entries()) {
        if (isOf(i)) {
          const received = await client.receives(event, PACKETS);
          assert.deepEqual(
            received.map(([number]) => number),
            numbers,
          );
        }
      }
    }

    test("reaches each client in few writes, with turns of the event loop between them", async () => {
      /** How many writes there were before each turn of the event loop. @type {number[]} */
      const turns = [];
      let writes = 0;
      for (const conn of conns()) {
        conn.on("flush", () => {
          writes++;
          for (const end = performance.now() + WORK; performance.now() < end;);
        });
      }
      let isOver = false;
      const turn = () => {
        turns.push(writes);
        if (!isOver) {
          setImmediate(turn);
        }
      };
      burst("burst");
      turn();
      await everybodyGets("burst");
      isOver = true;
      conns().forEach((conn) => conn.removeAllListeners("flush"));
      const perTurn = turns.map((count, i) => count - (turns[i - 1] ?? 0)).filter(Boolean);
      assert.ok(writes <= FEW * CLIENTS, `${writes} writes for ${CLIENTS} clients`);
      assert.ok(Math.max(...perTurn) <= MOST, `writes in each turn: ${perTurn}`);
    });

    test("reaches the others if a listener of one connection throws", async () => {
      const [broken] = conns();
      const thrown = new Error("thrown by a test");
      broken.on("flush", () => {
        throw thrown;
      });
      /** @type {string[]} */
      const warnings = [];
      const onWarning = (/** @type {Error} */ { message }) => warnings.push(message);
      process.on("warning", onWarning);
      burst("with a listener that throws");
      await everybodyGets("with a listener that throws", (i) => i > 0);
      await waitFor(() => warnings.length > 0, { what: "the warning" });
      process.off("warning", onWarning);
      assert.match(warnings.join(), /thrown by a test/);
      broken.removeAllListeners("flush");
      assert.ok(broken.transport.writable);
      burst("after it");
      await everybodyGets("after it");
    });

    test("reaches a client that is disconnected behind it", async () => {
      const [client] = context.cluster.clientsOf(NEAR);
      burst("before the end");
      context.cluster.io(FAR).in(client.id).disconnectSockets(true);
      await waitFor(() => !client.socket.connected, { what: "the client to be disconnected" });
      assert.equal(client.received("before the end").length, PACKETS);
      await everybodyGets("before the end");
    });

    // Breaks when the writes are still held while a handler runs. It may as well end the process.
    test("reaches clients whose connections a handler of serverSideEmit ends", async () => {
      const io = /** @type {any} */ (context.cluster.io(NEAR));
      io.once("end", () => conns().forEach((conn) => conn.close(true)));
      burst("before connections end", "end");
      await everybodyGets("before connections end", (i) => i > 0); // the first one has gone
    });
  });
}

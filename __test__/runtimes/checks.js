// What has to work in every runtime: three nodes in processes of their own, on one Redis, with real
// clients. Each check stands for itself and says by its name what does not work where it fails.

"use strict";

const assert = require("node:assert/strict");
const { SESSION_KEY_PREFIX, offsetOf } = require("../helpers/recovery");
const { ask } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");
const { EMITTERS } = require("./project");

/** @typedef {import("./node").RuntimeNode} RuntimeNode */
/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

/**
 * @typedef {object} Trio
 * @property {RuntimeNode[]} nodes
 * @property {SocketClient[]} clients one per node, in this order; the second one polls
 * @property {number} redisPort
 * @property {(file: string, ...args: string[]) => Promise<string>} script runs a script of the
 *   project to its end, with Redis's URL and these arguments
 *
 * @typedef {object} Check
 * @property {string} name
 * @property {(trio: Trio) => Promise<void>} run
 */

/** Emitted by each node while connections are cut: enough to last several cuts. */
const STORM = 1_000;
const CUTS = 3;

/**
 * Puts every client into a room, at the instance of the node beside its own.
 *
 * @param {Trio} trio
 * @param {string} room
 */
async function joinAll({ nodes, clients }, room) {
  clients.forEach(({ id }, i) => nodes[(i + 1) % nodes.length].call("socketsJoin", id, room));
  const members = await waitFor(async () => {
    const found = await nodes[0].call("fetchSockets", room);
    return found.length === clients.length && found;
  });
  return members;
}

/**
 * Every client has what every node has emitted, each packet once, each node's in their order.
 *
 * @param {Trio} trio
 * @param {string} event
 * @param {number} count of each node's packets
 */
async function assertAllNumbered({ nodes, clients }, event, count) {
  for (const client of clients) {
    const packets = await client.receives(event, nodes.length * count);
    for (const { name, pid } of nodes) {
      const numbers = packets.filter(([from]) => from === pid).map(([, number]) => number);
      const expected = Array.from({ length: count }, (_, n) => n);
      assert.deepEqual(numbers, expected, `the packets of ${name}`);
    }
  }
}

/** @type {Check[]} */
const CHECKS = [
  {
    name: "nodes know each other",
    async run({ nodes }) {
      for (const node of nodes) {
        await waitFor(async () => (await node.call("serverCount")) === nodes.length);
      }
    },
  },
  {
    name: "socketsJoin and fetchSockets",
    async run(trio) {
      const members = await joinAll(trio, "fetched");
      const byName = members.map((/** @type {any} */ { id, data }) => [data.name, id]).sort();
      assert.deepEqual(
        byName,
        trio.nodes.map(({ name }, i) => [name, trio.clients[i].id]),
      );
    },
  },
  {
    name: "broadcasts in order",
    async run(trio) {
      const count = 200;
      await joinAll(trio, "ordered");
      const [, , outside] = trio.clients;
      await trio.nodes[2].call("socketsLeave", outside.id, "ordered");
      await waitFor(async () => (await trio.nodes[0].call("fetchSockets", "ordered")).length === 2);
      await Promise.all(
        trio.nodes.map((node) => node.call("emitNumbered", "ordered", "ordered", count, 1)),
      );
      await assertAllNumbered({ ...trio, clients: trio.clients.slice(0, 2) }, "ordered", count);
      await trio.nodes[0].call("emit", outside.id, "after");
      await outside.receives("after");
      assert.deepEqual(outside.received("ordered"), [], "the client that is not in the room");
    },
  },
  {
    name: "binary payloads",
    async run(trio) {
      await joinAll(trio, "binary");
      for (const size of [100, 1_000, 100_000]) {
        await trio.nodes[0].call("emitBytes", "binary", size);
      }
      for (const client of trio.clients) {
        for (const [{ bytes, size }, first] of await client.receives("bytes", 3)) {
          assert.equal(bytes.length, size);
          assert.ok(Buffer.from(bytes).every((byte, i) => byte === i % 251));
          assert.deepEqual([...Buffer.from(first)], [0, 1, 2]);
        }
      }
    },
  },
  {
    name: "text of every kind",
    async run(trio) {
      await joinAll(trio, "text");
      const text = 'é ∑ 🦀 \u0000\n"\\, half a pair: \ud800 ';
      // The lengths of their WebSocket frames take one, three and nine bytes.
      const sent = [1, 50, 5_000].map((times) => ({ n: 0.5, texts: [text.repeat(times), ""] }));
      for (const arg of sent) {
        await trio.nodes[1].call("emit", "text", "text", arg);
      }
      for (const client of trio.clients) {
        const received = await client.receives("text", sent.length);
        assert.deepEqual(
          received.map(([arg]) => arg),
          sent,
        );
      }
    },
  },
  {
    name: "serverSideEmit with acknowledgements",
    async run({ nodes }) {
      const answers = await nodes[1].call("serverSideEmit", { n: 1 });
      const names = answers.map((/** @type {any} */ { name }) => name).sort();
      assert.deepEqual(names, [nodes[0].name, nodes[2].name]);
      assert.deepEqual(answers[0].question, { n: 1 });
    },
  },
  {
    name: "emitWithAck",
    async run(trio) {
      await joinAll(trio, "asked");
      for (const { socket, id } of trio.clients) {
        socket.on("question", (/** @type {any} */ question, /** @type {any} */ answer) =>
          answer({ id, question }),
        );
      }
      const answers = await trio.nodes[2].call("emitWithAck", "asked", "why?");
      const ids = answers.map((/** @type {any} */ { id }) => id).sort();
      assert.deepEqual(ids, trio.clients.map(({ id }) => id).sort());
      assert.equal(answers[0].question, "why?");
    },
  },
  {
    name: "recovery on another node",
    async run({ nodes, redisPort }) {
      const client = await connectClient(nodes[0].url);
      await nodes[0].call("emit", client.id, "first");
      await client.receives("first");
      const offset = offsetOf(client);
      client.cut();
      const { _pid: pid } = /** @type {any} */ (client.socket);
      const exists = () => ask(redisPort, [`EXISTS ${SESSION_KEY_PREFIX}${pid}`], /:(\d)/);
      await waitFor(async () => (await exists())[1] === "1", { what: "the session in Redis" });
      await nodes[2].call("emit", client.id, "missed", 1);
      await nodes[2].call("emitBytes", client.id, 10);
      await client.reconnect(nodes[1].url);
      assert.equal(client.socket.recovered, true);
      assert.deepEqual((await client.receives("missed"))[0][0], 1);
      assert.equal((await client.receives("bytes"))[0][0].bytes.length, 10);
      assert.notEqual(offsetOf(client), offset);
      client.disconnect();
    },
  },
  {
    name: "an emitter's script loses nothing and ends by itself",
    async run(trio) {
      const count = 500;
      await joinAll(trio, "emitter");
      for (const file of EMITTERS) {
        assert.equal(await trio.script(file, file, String(count)), "");
        for (const client of trio.clients) {
          const numbers = (await client.receives(file, count)).map(([number]) => number);
          assert.deepEqual(
            numbers,
            Array.from({ length: count }, (_, n) => n),
          );
        }
      }
    },
  },
  {
    name: "nothing lost or doubled when Redis cuts connections",
    async run(trio) {
      const { nodes, clients, redisPort } = trio;
      await joinAll(trio, "storm");
      const emitted = nodes.map((node) => node.call("emitNumbered", "storm", "storm", STORM, 5));
      for (let cut = 1; cut <= CUTS; cut++) {
        const reached = (STORM * nodes.length * cut) / (CUTS + 1);
        await waitFor(() => clients[0].received("storm").length >= reached);
        await ask(
          redisPort,
          ["CLIENT KILL TYPE normal", "CLIENT KILL TYPE pubsub"],
          /:\d+[^]*:\d+/,
        );
      }
      await Promise.all(emitted);
      await assertAllNumbered(trio, "storm", STORM);
    },
  },
  {
    name: "stats()",
    async run({ nodes }) {
      for (const node of nodes) {
        const stats = await node.call("stats");
        const { lost, malformed, failed, queueLength, published, read, reconnects } = stats;
        assert.deepEqual({ lost, malformed, failed }, { lost: 0, malformed: 0, failed: 0 });
        assert.equal(queueLength, 0);
        assert.ok(published >= STORM && read >= nodes.length * STORM, JSON.stringify(stats));
        assert.ok(reconnects >= CUTS, `${reconnects} reconnects, after ${CUTS} cuts`);
      }
    },
  },
  {
    name: "metrics and diagnostics channels",
    async run({ nodes }) {
      for (const node of nodes) {
        const published = await node.call("published");
        for (const [event, count] of /** @type {const} */ ([
          ["member-join", nodes.length - 1],
          ["reconnect", CUTS],
        ])) {
          const its = published.filter((/** @type {string} */ each) => each === event).length;
          assert.ok(its >= count, `${its} of ${event} at ${node.name}`);
        }
        const metrics = await node.call("metrics");
        const [, reconnects] = /^\w+_reconnects_total\S* (\d+)$/m.exec(metrics) ?? [];
        assert.ok(Number(reconnects) >= CUTS, metrics);
      }
    },
  },
];

module.exports = { CHECKS };

// serverSideEmit, with answers and without, from each node of the cluster.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { adapters, startCluster, useCluster } = require("../helpers/cluster");
const { settle, waitFor } = require("../helpers/wait");
const { lastEntryId, streamOf, toBuffer } = require("../helpers/wire");

const NODES = [0, 1, 2];

const context = useCluster({
  clientsPerNode: 0,
  namespaces: ["/", "/chat"],
  setup: (io) => io.of("/chat"),
});

/** Event names of one test only: listeners of another cannot answer. */
let events = 0;
function newEvent() {
  return `event-${events++}`;
}

/** @typedef {{ node: number, [key: string]: any }} NodeAnswer */

/** @param {NodeAnswer[]} answers @returns {NodeAnswer[]} */
function byNode(answers) {
  return answers.sort((a, b) => a.node - b.node);
}

/**
 * Listens on all nodes.
 *
 * @param {string} event
 * @param {(node: number, ...args: any[]) => void} listener
 * @param {string} [nsp]
 */
function onEveryNode(event, listener, nsp = "/") {
  for (const node of NODES) {
    // @ts-ignore not an event that a namespace is known to emit
    context.cluster
      .io(node)
      .of(nsp)
      .on(event, (...args) => listener(node, ...args));
  }
}

for (const sender of NODES) {
  const others = NODES.filter((node) => node !== sender);

  describe(`sent by node ${sender} (${adapters.kindOf(sender)})`, () => {
    /** @returns {any} */
    const io = () => context.cluster.io(sender);

    test("reaches every other node, once, and not the sender", async () => {
      const event = newEvent();
      /** @type {any[]} */
      const received = [];
      onEveryNode(event, (...args) => received.push(args));
      io().serverSideEmit(event, "a", 1);
      await waitFor(() => received.length >= 2);
      // an answer comes behind the emit: what would come twice has come
      onEveryNode(`${event}-done`, (node, answer) => answer(node));
      await io().serverSideEmitWithAck(`${event}-done`);
      assert.deepEqual(
        received.sort(),
        others.map((node) => [node, "a", 1]),
      );
    });

    test("arguments of all kinds", async () => {
      const event = newEvent();
      const sent = [
        "é🎉",
        -1.5,
        2 ** 40,
        null,
        true,
        [],
        { nested: { list: [1, [2, { a: null }]], "": "" } },
        // What holds no binary is JSON in the stream, where a date becomes text.
        ...(adapters.viaStream ? [] : [new Date(1_700_000_000_123)]),
      ];
      /** @type {any[]} */
      const received = [];
      onEveryNode(event, (node, ...args) => received.push(args));
      io().serverSideEmit(event, ...sent);
      await waitFor(() => received.length === 2);
      assert.deepEqual(received, [sent, sent]);
    });

    test("no argument at all", async () => {
      const event = newEvent();
      /** @type {any[]} */
      const received = [];
      onEveryNode(event, (...args) => received.push(args));
      io().serverSideEmit(event);
      await waitFor(() => received.length === 2);
      assert.deepEqual(
        received.sort(),
        others.map((node) => [node]),
      );
    });

    test("binary there and back", async () => {
      const event = newEvent();
      const bytes = Buffer.from([0, 127, 128, 255]);
      onEveryNode(event, (node, first, second, answer) => {
        assert.deepEqual(toBuffer(first), bytes);
        assert.deepEqual(toBuffer(second.nested[0]), bytes);
        answer({ node, bytes: first });
      });
      const answers = await io().serverSideEmitWithAck(event, bytes, { nested: [bytes] });
      assert.deepEqual(
        byNode(answers).map(({ node }) => node),
        others,
      );
      byNode(answers).forEach((answer) => assert.deepEqual(toBuffer(answer.bytes), bytes));
    });

    test("every other node answers: promise and callback", async () => {
      const event = newEvent();
      onEveryNode(event, (node, question, answer) => answer({ node, question }));
      const expected = others.map((node) => ({ node, question: "q" }));
      const answers = await io().serverSideEmitWithAck(event, "q");
      assert.deepEqual(byNode(answers), expected);
      const [error, again] = await new Promise((resolve) =>
        io().serverSideEmit(event, "q", (/** @type {any[]} */ ...args) => resolve(args)),
      );
      assert.equal(error, null);
      assert.deepEqual(byNode(again), expected);
    });

    test("a node's second answer and further arguments do not count", async () => {
      const event = newEvent();
      onEveryNode(event, (node, answer) => {
        answer(node, "ignored");
        answer("again");
      });
      assert.deepEqual((await io().serverSideEmitWithAck(event)).sort(), others);
    });

    test("answers that take their time", async () => {
      const event = newEvent();
      onEveryNode(event, (node, answer) => setTimeout(answer, 100 * node, node));
      assert.deepEqual((await io().serverSideEmitWithAck(event)).sort(), others);
    });

    test("many at once, each with its own answers", async () => {
      const event = newEvent();
      onEveryNode(event, (node, i, answer) => answer(`${i}-${node}`));
      const all = await Promise.all(
        Array.from({ length: 50 }, (_, i) => io().serverSideEmitWithAck(event, i)),
      );
      all.forEach((answers, i) =>
        assert.deepEqual(
          answers.sort(),
          others.map((node) => `${i}-${node}`),
        ),
      );
    });

    test("events in order", async () => {
      const event = newEvent();
      /** @type {Record<number, number[]>} */
      const received = { 0: [], 1: [], 2: [] };
      onEveryNode(event, (node, i) => received[node].push(i));
      const sent = Array.from({ length: 100 }, (_, i) => i);
      sent.forEach((i) => io().serverSideEmit(event, i));
      await waitFor(() => others.every((node) => received[node].length === sent.length));
      others.forEach((node) => assert.deepEqual(received[node], sent));
    });

    test("namespaces are apart", async () => {
      const event = newEvent();
      onEveryNode(event, (node, answer) => answer(`main ${node}`), "/");
      onEveryNode(event, (node, answer) => answer(`chat ${node}`), "/chat");
      assert.deepEqual(
        (await io().of("/chat").serverSideEmitWithAck(event)).sort(),
        others.map((node) => `chat ${node}`),
      );
      assert.deepEqual(
        (await io().serverSideEmitWithAck(event)).sort(),
        others.map((node) => `main ${node}`),
      );
    });

    test("nothing is written to the stream", { skip: adapters.pubSubOnly() }, async () => {
      const event = newEvent();
      const last = await lastEntryId(context.admin, streamOf("/"));
      onEveryNode(event, (node, answer) => answer(node));
      await io().serverSideEmitWithAck(event);
      assert.equal(await lastEntryId(context.admin, streamOf("/")), last);
    });
  });
}

test("one node does not answer: an error at the time-out, with the answers that came", async () => {
  // the time-out is 5 s and cannot be set: all senders wait at the same time
  const event = newEvent();
  onEveryNode(event, (node, sender, answer) => {
    if (node !== (sender + 1) % NODES.length) {
      answer(`from ${node}`);
    }
  });
  const outcomes = await Promise.all(
    NODES.map((sender) =>
      /** @type {any} */ (context.cluster.io(sender)).serverSideEmitWithAck(event, sender).then(
        () => assert.fail("resolved"),
        (/** @type {any} */ error) => error,
      ),
    ),
  );
  outcomes.forEach((error, sender) => {
    assert.ok(error instanceof Error);
    assert.match(error.message, /timeout/);
    assert.deepEqual(/** @type {any} */ (error).responses, [`from ${(sender + 2) % NODES.length}`]);
  });
});

test("no other server: no answers, at once", async () => {
  const alone = await startCluster(context, {
    nodes: 1,
    clientsPerNode: 0,
    adapterOptions: { streamName: "alone", channelPrefix: "alone" },
  });
  const io = /** @type {any} */ (alone.io(0));
  io.on("event", () => assert.fail("the sender received its own event"));
  assert.deepEqual(await io.serverSideEmitWithAck("event"), []);
  io.serverSideEmit("event");
  await settle(50);
  await alone.close();
});

test("reserved events are refused", () => {
  assert.throws(
    () => /** @type {any} */ (context.cluster.io(0)).serverSideEmit("connection"),
    /reserved/,
  );
});

// The messages on the PUB/SUB channels, as nodes with other versions read and write them.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { adapters, useCluster } = require("../helpers/cluster");
const { needsDefault } = require("../helpers/configuration");
const { ANSWER_TIMEOUT, waitFor } = require("../helpers/wait");
const { MessageType, decode, encode, toBuffer } = require("../helpers/wire");

const NODES = [0, 1, 2];
const CHANNEL = "socket.io#/#";

const context = useCluster({
  prepare({ clients, nodes }) {
    clients.forEach(({ socket }, i) => socket.on("ask", (answer) => answer(`client ${i}`)));
    nodes.forEach(({ io, index }) =>
      /** @type {any} */ (io).on("ask", (/** @type {any} */ answer) => answer(`node ${index}`)),
    );
  },
});

/**
 * Everything published on the channels of the main namespace while `action` runs.
 *
 * Listens to a pattern: a subscriber of the channel itself would count as a node.
 *
 * @param {() => Promise<unknown>} action
 * @param {(messages: { channel: string, message: any }[]) => boolean} isComplete
 */
async function published(action, isComplete) {
  const listener = context.admin.client.duplicate();
  await listener.connect();
  /** @type {{ channel: string, message: any }[]} */
  const messages = [];
  await listener.pSubscribe(
    "socket.io#/#*",
    (/** @type {Buffer} */ payload, /** @type {Buffer} */ channel) => {
      // channels that only our own nodes know are theirs
      if (/^socket\.io#\/#([0-9a-f]{16}#)?$/.test(String(channel))) {
        messages.push({ channel: String(channel), message: decode(payload) });
      }
    },
    true,
  );
  await action();
  await waitFor(() => isComplete(messages), { what: () => JSON.stringify(messages) });
  await listener.close();
  return messages;
}

for (const sender of NODES) {
  const others = NODES.filter((node) => node !== sender);
  const skip =
    adapters.pubSubOnly() ||
    needsDefault(
      ["useShardedPubSub"],
      "who listens counts as a node, since sharded channels know no patterns",
    );

  const name = `what is said for a request of node ${sender} (${adapters.kindOf(sender)})`;
  describe(name, { skip }, () => {
    const adapter = () => context.cluster.adapter(sender);

    /**
     * Checks the request and the answers, and returns their data.
     *
     * @param {{ channel: string, message: any }[]} messages
     * @param {number} type of the request
     */
    function dissect(messages, type) {
      const requests = messages.filter(({ channel }) => channel === CHANNEL);
      assert.equal(requests.length, 1);
      const [{ message }] = requests;
      assert.equal(message.uid, adapter().uid);
      assert.equal(message.nsp, "/");
      assert.equal(message.type, type);
      const answers = messages.filter(({ channel }) => channel !== CHANNEL);
      for (const answer of answers) {
        assert.equal(answer.channel, `${CHANNEL}${adapter().uid}#`);
        assert.equal(answer.message.nsp, "/");
        assert.equal(answer.message.data.requestId, message.data.requestId);
      }
      return { request: message.data, answers: answers.map(({ message: answer }) => answer) };
    }

    /**
     * Upstream's IDs are 16 hexadecimal digits. Ours have their node's uid before them, by which it
     * tells the answers to its own requests.
     *
     * @param {string} requestId
     */
    function assertId(requestId) {
      const isUpstream = adapters.isUpstream(adapters.kindOf(sender));
      const prefix = isUpstream ? "" : adapter().uid;
      assert.match(requestId, new RegExp(`^${prefix}[0-9a-f]{16}$`));
    }

    test("fetchSockets", async () => {
      const { cluster } = context;
      const messages = await published(
        () => cluster.io(sender).in("r1").except("x1").fetchSockets(),
        ({ length }) => length >= 3,
      );
      const { request, answers } = dissect(messages, MessageType.FETCH_SOCKETS);
      assertId(request.requestId);
      assert.deepEqual(request.opts.rooms, ["r1"]);
      assert.deepEqual(request.opts.except, ["x1"]);
      assert.deepEqual(
        answers.map(({ uid }) => uid).sort(),
        others.map((node) => cluster.adapter(node).uid).sort(),
      );
      for (const { type, data } of answers) {
        assert.equal(type, MessageType.FETCH_SOCKETS_RESPONSE);
        assert.deepEqual(data.sockets, []);
      }
    });

    test("serverSideEmit without answers", async () => {
      const messages = await published(
        async () => /** @type {any} */ (context.cluster.io(sender)).serverSideEmit("event", 1, "é"),
        ({ length }) => length >= 1,
      );
      const { request, answers } = dissect(messages, MessageType.SERVER_SIDE_EMIT);
      assert.deepEqual(request.packet, ["event", 1, "é"]);
      assert.equal(request.requestId, undefined);
      assert.deepEqual(answers, []);
    });

    test("serverSideEmit with answers", async () => {
      const messages = await published(
        () => /** @type {any} */ (context.cluster.io(sender)).serverSideEmitWithAck("ask"),
        ({ length }) => length >= 3,
      );
      const { request, answers } = dissect(messages, MessageType.SERVER_SIDE_EMIT);
      assert.deepEqual(request.packet, ["ask"]);
      assertId(request.requestId);
      for (const { type } of answers) {
        assert.equal(type, MessageType.SERVER_SIDE_EMIT_RESPONSE);
      }
      assert.deepEqual(
        answers.map(({ data }) => data.packet).sort(),
        others.map((node) => `node ${node}`),
      );
    });

    test("a broadcast with acknowledgements", async () => {
      const { cluster } = context;
      const messages = await published(
        () => cluster.io(sender).timeout(ANSWER_TIMEOUT).emitWithAck("ask"),
        ({ length }) => length >= 5,
      );
      const { request, answers } = dissect(messages, MessageType.BROADCAST);
      assertId(request.requestId);
      assert.deepEqual(request.packet.data, ["ask"]);
      assert.equal(request.packet.type, 2);
      assert.deepEqual(request.opts.rooms, []);
      for (const node of others) {
        const { uid } = cluster.adapter(node);
        const own = answers.filter((answer) => answer.uid === uid);
        assert.deepEqual(own.map(({ type }) => type).sort(), [
          MessageType.BROADCAST_CLIENT_COUNT,
          MessageType.BROADCAST_ACK,
        ]);
        const count = own.find(({ type }) => type === MessageType.BROADCAST_CLIENT_COUNT);
        assert.equal(count?.data.clientCount, 1);
        const ack = own.find(({ type }) => type === MessageType.BROADCAST_ACK);
        assert.equal(ack?.data.packet, `client ${node}`);
      }
    });
  });
}

describe("requests of others", { skip: adapters.pubSubOnly() }, () => {
  const uid = "deadbeefdeadbeef";
  const opts = { rooms: [], except: [], flags: {} };

  /**
   * Publishes a request as a node would that is not in this process, and collects the answers.
   *
   * @param {object} message
   * @param {number} count how many answers there have to be
   */
  async function ask(message, count) {
    /** @type {any[]} */
    const answers = [];
    const subscriber = await context.admin.subscribe(`${CHANNEL}${uid}#`, (payload) =>
      answers.push(decode(payload)),
    );
    await context.admin.publish(CHANNEL, toBuffer(encode({ uid, nsp: "/", ...message })));
    await waitFor(() => answers.length >= count, { what: () => JSON.stringify(answers) });
    await subscriber.close();
    assert.equal(answers.length, count);
    return answers;
  }

  test("fetchSockets", async () => {
    const answers = await ask(
      { type: MessageType.FETCH_SOCKETS, data: { opts, requestId: "1" } },
      3,
    );
    assert.deepEqual(
      answers.flatMap(({ data }) => data.sockets.map((/** @type {any} */ { id }) => id)).sort(),
      context.cluster.clients.map(({ id }) => id).sort(),
    );
  });

  test("serverSideEmit", async () => {
    const answers = await ask(
      { type: MessageType.SERVER_SIDE_EMIT, data: { packet: ["ask"], requestId: "2" } },
      3,
    );
    assert.deepEqual(answers.map(({ data }) => data.packet).sort(), ["node 0", "node 1", "node 2"]);
  });

  test("a broadcast with acknowledgements", async () => {
    const packet = { type: 2, data: ["ask"], nsp: "/" };
    const answers = await ask(
      { type: MessageType.BROADCAST, data: { packet, opts, requestId: "3" } },
      6,
    );
    assert.deepEqual(
      answers
        .filter(({ type }) => type === MessageType.BROADCAST_ACK)
        .map(({ data }) => data.packet)
        .sort(),
      ["client 0", "client 1", "client 2"],
    );
  });

  test("a broadcast without acknowledgements, which no node sends there, is delivered", async () => {
    const { admin, cluster } = context;
    const packet = { type: 2, data: ["direct", "é"], nsp: "/" };
    await admin.publish(
      CHANNEL,
      toBuffer(encode({ uid, nsp: "/", type: MessageType.BROADCAST, data: { packet, opts } })),
    );
    for (const client of cluster.clients) {
      assert.deepEqual(await client.receives("direct"), [["é"]]);
    }
  });
});

// What one client sends as `auth`, and what an application keeps in `socket.data`, hinders nobody.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { adapters, useCluster } = require("../helpers/cluster");
const { ANSWER_TIMEOUT, once } = require("../helpers/wait");

const context = useCluster({ nodes: 2 });

/** @param {number} depth @param {any} inside */
function nested(depth, inside = "x") {
  let value = inside;
  for (let i = 0; i < depth; i++) {
    value = [value];
  }
  return value;
}

const withProto = () => JSON.parse('{"__proto__":{"a":1},"b":2}');

/** @type {[string, any][]} */
const ODD = [
  ["the key __proto__", withProto()],
  ["the key __proto__ beside binary", { list: [withProto()], bytes: Buffer.from("x") }],
  ["150 levels", { deep: nested(150) }],
  ["150 levels around binary", { deep: nested(150, Buffer.from("x")) }],
];

/** Upstream's nodes neither write more than 100 levels nor read what other nodes of them wrote. */
const upstreamFails = adapters.upstreamCannot("its nodes refuse such values");

describe("fetchSockets of another node", { skip: upstreamFails }, () => {
  for (const [name, value] of ODD) {
    for (const where of /** @type {const} */ (["auth", "data"])) {
      test(`${name}, in ${where}`, async () => {
        const { cluster } = context;
        const client = await cluster.connect(0, where === "auth" ? { auth: value } : {});
        if (where === "data") {
          cluster.serverSocket(client).data = value;
        }
        assert.equal((await cluster.io(1).fetchSockets()).length, 3);
        await cluster.disconnect(client);
      });
    }
  }

  test("data that nobody can encode is left out, and no other", async () => {
    const { cluster } = context;
    const client = await cluster.connect(0, { auth: { fine: true } });
    const [first] = cluster.clients;
    cluster.serverSocket(first).data = { at: 1 };
    cluster.serverSocket(client).data = nested(100_000);
    const warned = once(process, "warning");
    const sockets = await cluster.io(1).fetchSockets();
    assert.match((await warned)[0].message, /socket\.data/);
    assert.deepEqual(sockets.find(({ id }) => id === client.id)?.data, {});
    assert.deepEqual(sockets.find(({ id }) => id === client.id)?.handshake.auth, { fine: true });
    assert.deepEqual(sockets.find(({ id }) => id === first.id)?.data, { at: 1 });
    await cluster.disconnect(client);
  });

  test("an answer that Redis may not pass on is sent without the largest parts", async () => {
    const { cluster } = context;
    const client = await cluster.connect(0);
    const [first] = cluster.clients;
    cluster.serverSocket(first).data = { at: 1 };
    cluster.serverSocket(client).data = "x".repeat(12 * 2 ** 20);
    const warned = once(process, "warning");
    const sockets = await cluster.io(1).fetchSockets();
    assert.equal((await warned)[0].code, "SIO_REDIS_ANSWER_TOO_LARGE");
    assert.deepEqual(sockets.find(({ id }) => id === client.id)?.data, {});
    assert.deepEqual(sockets.find(({ id }) => id === first.id)?.data, { at: 1 });
    await cluster.disconnect(client);
  });
});

describe("payloads", { skip: upstreamFails }, () => {
  for (const [name, value] of ODD) {
    test(`${name}, with acknowledgements`, async () => {
      const { cluster } = context;
      cluster.clients.forEach(({ socket }) =>
        socket.once("ask", (_value, answer) => answer("got it")),
      );
      const answers = await cluster.io(0).timeout(ANSWER_TIMEOUT).emitWithAck("ask", value);
      assert.deepEqual(answers, ["got it", "got it"]);
    });

    test(`${name}, without`, async () => {
      const { cluster } = context;
      cluster.io(0).emit(name, value);
      await Promise.all(cluster.clients.map((client) => client.receives(name)));
    });
  }
});

test("what nodes of upstream send with the key __proto__ is read", async (t) => {
  if (adapters.kindOf(0) !== "native" || adapters.kindOf(1) !== "upstream") {
    return t.skip("needs a node of upstream, and ours to ask it");
  }
  const { cluster } = context;
  const client = await cluster.connect(1, { auth: withProto() });
  cluster.serverSocket(client).data = withProto();
  const sockets = await cluster.io(0).in(client.id).fetchSockets();
  assert.equal(JSON.stringify(sockets[0].data), '{"b":2,"__proto__":{"a":1}}');
  assert.equal(Object.getPrototypeOf(sockets[0].data), Object.prototype);
  await cluster.disconnect(client);
});

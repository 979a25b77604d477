// Packets that leave in one write leave on any WebSocket server, and whatever listeners do.

"use strict";

const assert = require("node:assert/strict");
const { EventEmitter } = require("node:events");
const { test } = require("node:test");
const { WebSocketServer } = require("ws");
const { startCluster, useRedis } = require("../helpers/cluster");
const { hasSession } = require("../helpers/recovery");
const { waitFor } = require("../helpers/wait");

const context = useRedis();

/** A WebSocket as eiows has it: what it calls `_socket` is no stream. */
class Bare extends EventEmitter {
  /** @param {any} inner */
  constructor(inner) {
    super();
    this.inner = inner;
    this._socket = { remoteAddress: inner._socket.remoteAddress };
    for (const event of ["message", "close", "error"]) {
      inner.on(event, (/** @type {any[]} */ ...args) => this.emit(event, ...args));
    }
  }

  get readyState() {
    return this.inner.readyState;
  }

  /** @param {any[]} args */
  send(...args) {
    this.inner.send(...args);
  }

  close() {
    this.inner.close();
  }
}

class BareServer extends WebSocketServer {
  /** @param {any} request @param {any} socket @param {any} head @param {any} done */
  handleUpgrade(request, socket, head, done) {
    super.handleUpgrade(request, socket, head, (ws) => done(new Bare(ws), request));
  }
}

/**
 * @param {import("../helpers/cluster").Cluster} cluster
 * @param {string} event
 */
async function burst(cluster, event) {
  for (let i = 0; i < 10; i++) {
    cluster.io(0).emit(event, i);
  }
  const [client] = cluster.clients;
  assert.deepEqual(
    await client.receives(event, 10),
    Array.from({ length: 10 }, (_, i) => [i]),
  );
}

test("a WebSocket that shows no stream", async () => {
  const serverOptions = { wsEngine: BareServer };
  const cluster = await startCluster(context, { nodes: 1, serverOptions });
  try {
    await burst(cluster, "first");
    await burst(cluster, "second");
  } finally {
    await cluster.close();
  }
});

test('an Engine.IO server whose "drain" does not come, as after a listener that throws', async () => {
  const cluster = await startCluster(context, { nodes: 1 });
  try {
    const engine = /** @type {any} */ (cluster.io(0)).engine;
    const { emit } = engine;
    engine.emit = (/** @type {any[]} */ event, /** @type {any[]} */ ...args) =>
      event !== /** @type {any} */ ("drain") && emit.call(engine, event, ...args);
    await burst(cluster, "first");
    await burst(cluster, "second");
  } finally {
    await cluster.close();
  }
});

/**
 * A client of HTTP long-polling that shows what each answer holds.
 *
 * @param {string} url
 */
async function poller(url) {
  let sid = "";
  /** @param {string} [body] */
  const ask = async (body) => {
    const path = `/socket.io/?EIO=4&transport=polling${sid}`;
    const response = await fetch(url + path, body === undefined ? {} : { method: "POST", body });
    return response.text();
  };
  const id = JSON.parse((await ask()).slice(1)).sid;
  sid = `&sid=${id}`;
  return { id, poll: () => ask(), push: ask };
}

/**
 * A client of long-polling that has gone, three packets that it missed, and the same client back with a
 * request that waits.
 *
 * @param {import("../helpers/cluster").Cluster} cluster
 */
async function returns(cluster) {
  const io = /** @type {any} */ (cluster.io(0));
  const before = await poller(cluster.nodes[0].url);
  await before.push("40");
  const { pid, sid } = JSON.parse((await before.poll()).slice(2));
  io.emit("first");
  const [, offset] = JSON.parse((await before.poll()).slice(2));
  await before.push("1");
  await waitFor(() => hasSession(cluster, pid), { what: "the session in Redis" });
  for (const event of ["a", "b", "c"]) {
    io.emit(event);
  }
  const back = await poller(cluster.nodes[0].url);
  const answer = back.poll();
  await waitFor(() => io.engine.clients[back.id].transport.writable, { what: "the request" });
  await back.push(`40${JSON.stringify({ pid, offset })}`);
  return { answer: (await answer).split("\x1e"), sid, back };
}

const options = { nodes: 1, clientsPerNode: 0, serverOptions: { connectionStateRecovery: {} } };

test("one answer of long-polling holds all that a client missed, and its CONNECT", async () => {
  const cluster = await startCluster(context, options);
  try {
    const { answer, sid } = await returns(cluster);
    assert.deepEqual(
      answer.map((packet) => /^42\["(\w)"|^40/.exec(packet)?.[1]),
      ["a", "b", "c", undefined],
    );
    assert.equal(JSON.parse(answer[3].slice(2)).sid, sid);
  } finally {
    await cluster.close();
  }
});

for (const [name, leave, last] of /** @type {[string, (socket: any) => void, string][]} */ ([
  ["disconnects the client", (socket) => socket.disconnect(true), "41"],
  ["closes the connection", (socket) => socket.conn.close(true), "6"],
])) {
  test(`a "connection" handler that ${name} at once, behind what was missed`, async () => {
    const cluster = await startCluster(context, options);
    try {
      cluster
        .io(0)
        .on("connection", (/** @type {any} */ socket) => socket.recovered && leave(socket));
      const { answer, back } = await returns(cluster);
      assert.equal(answer.at(-1), last);
      if (last === "41") {
        assert.equal(await back.poll(), "6\x1e1");
      }
      await waitFor(() => /** @type {any} */ (cluster.io(0)).engine.clientsCount === 0);
    } finally {
      await cluster.close();
    }
  });
}

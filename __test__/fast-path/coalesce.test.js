// Packets that leave in one write leave on any WebSocket server, and whatever listeners do.

"use strict";

const assert = require("node:assert/strict");
const { EventEmitter } = require("node:events");
const { test } = require("node:test");
const { WebSocketServer } = require("ws");
const { startCluster, useRedis } = require("../helpers/cluster");

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

// Suites of users that replace the global timers by fake ones: delivery goes on meanwhile.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { setTimeout: sleep } = require("node:timers/promises");
const { useCluster } = require("../helpers/cluster");

const FAKED = /** @type {const} */ (["setTimeout", "setInterval", "setImmediate"]);

const context = useCluster({ nodes: 2 });

/** Polls with timers that are not faked. @param {() => unknown} condition */
async function eventually(condition) {
  for (let i = 0; i < 400 && !condition(); i++) {
    await sleep(10);
  }
  assert.ok(condition(), String(condition));
}

test("broadcasts and requests go on while the global timers are fake", async () => {
  const { cluster } = context;
  const [near, far] = cluster.clients;
  const real = Object.fromEntries(FAKED.map((name) => [name, globalThis[name]]));
  const never = () => ({ unref: () => never(), ref: () => never() });
  Object.assign(globalThis, Object.fromEntries(FAKED.map((name) => [name, never])));
  try {
    for (let i = 1; i <= 20; i++) {
      cluster.io(0).emit("faked", i);
      await eventually(() => [near, far].every((c) => c.received("faked").length === i));
    }
    assert.equal((await cluster.io(0).fetchSockets()).length, 2);
  } finally {
    Object.assign(globalThis, real);
  }
  cluster.io(0).emit("real again");
  await Promise.all([near, far].map((client) => client.receives("real again")));
});

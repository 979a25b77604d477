// Which nodes count as dead (lib/dead-nodes.js). __test__/sessions has real nodes that die.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { DeadNodes } = require("../lib/dead-nodes");

test("a node counts as dead for some seconds, and is forgotten then", () => {
  let time = 0;
  const nodes = new DeadNodes(() => time);
  assert.equal(nodes.has("a"), false);
  nodes.add("a");
  time += 3_000;
  nodes.add("b");
  assert.deepEqual([nodes.has("a"), nodes.has("b"), nodes.size], [true, true, 2]);
  time += 3_000;
  assert.deepEqual([nodes.has("a"), nodes.has("b")], [false, true]);
  nodes.add("c");
  assert.equal(nodes.size, 2, "without a");
  nodes.add("b"); // dead again
  time += 3_000;
  nodes.add("d");
  assert.deepEqual([nodes.has("b"), nodes.has("c"), nodes.size], [true, true, 3]);
});

// Breaks when nodes are never forgotten: each deployment has new ones.
test("nodes that die all the time take no more memory", () => {
  let time = 0;
  const nodes = new DeadNodes(() => time);
  for (let i = 0; i < 10_000; i++) {
    nodes.add(`node ${i}`);
    time += 1_000;
  }
  assert.ok(nodes.size <= 5, `${nodes.size} are remembered`);
});

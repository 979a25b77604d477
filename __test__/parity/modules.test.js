// How the package is loaded: require and import.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { adapters } = require("../helpers/cluster");

for (const node of [0, 1]) {
  const kind = adapters.kindOf(node);

  test(`require() of ${kind} gives createAdapter`, () => {
    assert.equal(typeof require(adapters.modulePath(node)).createAdapter, "function");
  });

  test(`import() of ${kind} gives createAdapter, the same one, by name and in the default`, async () => {
    const { createAdapter } = require(adapters.modulePath(node));
    const namespace = await import(adapters.moduleUrl(node));
    assert.equal(namespace.createAdapter, createAdapter);
    assert.equal(namespace.default.createAdapter, createAdapter);
  });
}

test(
  "the package's own name gives the same, by require() and import()",
  { skip: adapters.only(["native"], "it is our package's name") },
  async () => {
    const { createAdapter } = require(adapters.modulePath(0));
    assert.equal(require("socket.io-redis-streams-native").createAdapter, createAdapter);
    const namespace = await import("socket.io-redis-streams-native");
    assert.equal(namespace.createAdapter, createAdapter);
  },
);

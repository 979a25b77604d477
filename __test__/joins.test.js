// Since when sockets have been in their rooms, also in those that they leave and join again.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { Joins, unnoticedFor } = require("../lib/joins");

const always = () => Infinity;
const never = () => 0;

test("a room that is left and joined again counts as never left", () => {
  const joins = new Joins(always);
  assert.equal(joins.join("s", "r", "1-0"), true);
  assert.equal(joins.join("s", "r", "2-0"), false);
  for (let i = 3; i < 9; i++) {
    joins.leave("s", "r");
    assert.deepEqual(joins.of("s"), new Map());
    joins.leave("s", "r");
    assert.equal(joins.join("s", "r", `${i}-0`), true);
    assert.deepEqual(joins.of("s"), new Map([["r", "1-0"]]));
  }
  joins.leave("s", "r");
  joins.join("other", "r", "9-0");
  assert.deepEqual(joins.of("other"), new Map([["r", "9-0"]]));
});

test("but not when a broken connection would have been noticed, nor for another socket", () => {
  const joins = new Joins(never);
  joins.join("s", "r", "1-0");
  joins.leave("s", "r");
  joins.join("s", "r", "2-0");
  assert.deepEqual(joins.of("s"), new Map([["r", "2-0"]]));
  const others = new Joins(always);
  others.join("s", "r", "1-0");
  others.leave("s", "r");
  others.remove("s");
  assert.equal(others.of("s"), undefined);
  others.join("s", "r", "2-0");
  assert.deepEqual(others.of("s"), new Map([["r", "2-0"]]));
});

// Breaks when memory is not bounded.
test("of 5,000 rooms that a socket has left, those that it left last are remembered", () => {
  const joins = new Joins(always);
  for (let room = 0; room < 5_000; room++) {
    joins.join("s", room, "1-0");
    joins.leave("s", room);
  }
  for (let room = 0; room < 5_000; room++) {
    joins.join("s", room, "2-0");
  }
  const early = [...(joins.of("s") ?? [])].filter(([, since]) => since === "1-0");
  assert.deepEqual(
    early.map(([room]) => room),
    Array.from({ length: 1_000 }, (_, i) => 4_000 + i),
  );
});

test("how long a broken connection goes unnoticed follows from the server's options", () => {
  assert.equal(unnoticedFor({ engine: { opts: { pingInterval: 10, pingTimeout: 3 } } }), 16);
  assert.equal(unnoticedFor({}), 65_000);
});

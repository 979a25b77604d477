// Tickets are given back to who waits for them, in whatever order they come, however many there are.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { Tickets } = require("../lib/tickets");
const { random, seed } = require("./faults/random");

const MOST = 30_000;

test("each is given back once, as from a Map", (t) => {
  const start = seed();
  t.diagnostic(`SEED=${start}`);
  const chance = random(start);
  const tickets = new Tickets();
  const model = new Map();
  // Close to where they begin anew.
  let next = 2 ** 32 - MOST;
  for (let round = 0; round < 20 * MOST; round++) {
    const isGrowing = Math.floor(round / (2 * MOST)) % 2 === 0;
    if (model.size < MOST && chance() < (isGrowing ? 0.8 : 0.3)) {
      tickets.add(next, `who ${next}`);
      model.set(next, `who ${next}`);
      next = (next + 1) >>> 0;
    } else if (model.size > 0) {
      // Mostly the oldest; now and then one that was given back, or was never there.
      const [oldest] = model.keys();
      const ticket = (oldest + (chance() < 0.2 ? Math.floor(chance() * 2 * MOST) : 0)) >>> 0;
      assert.equal(tickets.take(ticket), model.get(ticket));
      model.delete(ticket);
    }
    assert.equal(tickets.size, model.size);
  }
  for (const [ticket, who] of model) {
    assert.equal(tickets.take(ticket), who);
    assert.equal(tickets.take(ticket), undefined);
  }
  assert.equal(tickets.size, 0);
});

test("the open ones are told in their order", () => {
  const tickets = new Tickets();
  /** @type {number[]} */
  const open = [];
  const first = 2 ** 32 - MOST;
  assert.deepEqual(tickets.open(), []);
  for (let i = 0; i < 2 * MOST; i++) {
    const ticket = (first + i) >>> 0;
    tickets.add(ticket, ticket);
    if (i % 7 === 0) {
      open.push(ticket);
    } else {
      tickets.take(ticket);
    }
  }
  assert.deepEqual(tickets.open(), open);
  assert.deepEqual(tickets.openBehind(open[5]), open.slice(6));
  assert.deepEqual(tickets.openBehind((open[5] + 1) >>> 0), open.slice(6));
  assert.deepEqual(tickets.openBehind(tickets.newest), []);
});

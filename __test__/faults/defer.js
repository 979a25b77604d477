// Cleaning up after a test: what was set up last goes first. The hooks of node:test run in the order
// in which they were added, which would stop Redis before the nodes that use it.

"use strict";

/** @type {WeakMap<object, (() => unknown)[]>} */
const stacks = new WeakMap();

/**
 * @param {import("node:test").TestContext} t
 * @param {() => unknown} work done after the test, before what was deferred earlier
 */
function defer(t, work) {
  const stack = stacks.get(t) ?? [];
  if (stack.length === 0) {
    stacks.set(t, stack);
    t.after(async () => {
      for (let next = stack.pop(); next; next = stack.pop()) {
        await next();
      }
    });
  }
  stack.push(work);
}

module.exports = { defer };

// What looks like an open handle after a close, for tools such as `jest --detectOpenHandles`.
// docs/testing.md tells of the one that there is.
//
// Breaks if the resource that carries the caller's AsyncLocalStorage is left to the garbage collector.

"use strict";

const assert = require("node:assert/strict");
const { execFile } = require("node:child_process");
const { join } = require("node:path");
const { test } = require("node:test");
const { promisify } = require("node:util");
const { useRedis } = require("../helpers/cluster");

const context = useRedis();

test("after a close, only what docs/testing.md names looks open", async () => {
  const script = join(__dirname, "open-handles-process.js");
  const run = promisify(execFile)(process.execPath, [script, context.redis.url]);
  assert.deepEqual(JSON.parse((await run).stdout), ["CustomGC"]);
});

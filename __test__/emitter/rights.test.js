// The rights that an emitter's user of Redis needs: with these nothing is denied, and each of them is
// used.

"use strict";

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { describe, test } = require("node:test");
const { useRedis } = require("../helpers/cluster");
const { startProxy } = require("../helpers/tcp-proxy");
const { defer } = require("../faults/defer");
const { takeWarnings } = require("../faults/warnings");

const { Emitter } = require("../..");

/** Without these, packets get lost, at the latest after a cut. */
const NEEDED = ["+xadd", "+xrange", "+xrevrange"];
/** Without these, a batch may be written in part or twice. */
const BETTER = ["+multi", "+exec", "+client|info", "+client|kill", "+info"];

const context = useRedis();

/**
 * Emits as a user with these rights, over a connection that is cut before the reply to the second
 * batch comes.
 *
 * @param {import("node:test").TestContext} t
 * @param {string[]} rights
 */
async function emitWith(t, rights) {
  await context.admin.command("ACL", "LOG", "RESET");
  await context.admin.command(
    ...["ACL", "SETUSER", "emitter", "reset", "on", ">secret", "~socket.io", ...rights],
  );
  let batches = 0;
  let cuts = 0;
  const proxy = await startProxy(context.redis.port, ({ notes }, direction, chunk) => {
    if (direction === "up" && chunk.includes("\r\nXADD\r\n")) {
      notes.isBatch = ++batches === 2;
    } else if (direction === "down" && notes.isBatch) {
      cuts++;
      return { pass: 0 };
    }
  });
  defer(t, () => proxy.close());
  takeWarnings();
  const emitter = new Emitter(proxy.url.replace("//", "//emitter:secret@"));
  defer(t, () => emitter.close().catch(() => {}));
  /** @type {string[]} */
  const failures = [];
  for (let batch = 0; batch < 3; batch++) {
    emitter.emit("alone");
    await emitter.flush().catch(({ message }) => failures.push(message));
    // While one is on its way the others come together, and go as one transaction.
    for (let i = 0; i < 50; i++) {
      emitter.emit("together", i);
    }
    await emitter.flush().catch(({ message }) => failures.push(message));
  }
  await new Promise(setImmediate); // warnings come with the next tick
  const log = await context.admin.command("ACL", "LOG");
  const denied = log.map((/** @type {string[]} */ entry) => entry[entry.indexOf("object") + 1]);
  return { cuts, failures, denied: [...new Set(denied)].sort(), warnings: takeWarnings() };
}

/** As it stands in ACL LOG. @param {string} right */
const nameOf = (right) => right.slice(1);

describe("the emitter's permissions", () => {
  test("docs/emitter.md lists them", () => {
    const document = readFileSync(join(__dirname, "..", "..", "docs", "emitter.md"), "utf8");
    const [, rules] = /^ACL SETUSER emitter (.*)$/m.exec(document) ?? [];
    const expected = `on >secret resetchannels ~socket.io -@all ${[...NEEDED, ...BETTER].join(" ")}`;
    assert.equal(rules, expected);
  });

  test("with all of them nothing is denied, nothing fails, and only the cut is warned of", async (t) => {
    const { cuts, failures, denied, warnings } = await emitWith(t, [...NEEDED, ...BETTER]);
    assert.equal(cuts, 1);
    assert.deepEqual({ failures, denied }, { failures: [], denied: [] });
    assert.ok(warnings.every(({ code }) => code === "ERR_SIO_REDIS_CONNECTION"));
  });

  for (const right of [...NEEDED, ...BETTER]) {
    test(`without ${right} it is said what is denied`, async (t) => {
      const rights = [...NEEDED, ...BETTER].filter((one) => one !== right);
      const { failures, denied, warnings } = await emitWith(t, rights);
      assert.deepEqual(denied, [nameOf(right)]);
      const command = nameOf(right).split("|")[0].toUpperCase();
      const said = warnings.filter(({ code }) => code === "ERR_SIO_REDIS_NOPERM");
      assert.equal(said.length, 1, JSON.stringify(said));
      assert.match(said[0].message, new RegExp(`Redis refused ${command}\\b`));
      const isNeeded = NEEDED.includes(right);
      assert.equal(failures.length > 0, isNeeded, `failures: ${failures}`);
    });
  }
});

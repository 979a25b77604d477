// Services and proxies before Redis that do not let a read wait for entries (XREAD with BLOCK): packets
// arrive all the same, and nothing is asked without end.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { startRedis } = require("../helpers/redis-server");
const { startProxy } = require("../helpers/tcp-proxy");
const { settle, waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const { startTwo } = require("./two-nodes");
const { takeWarnings, warnings } = require("./warnings");

/** ms for which nothing is emitted */
const QUIET = 2_000;
/** A node reads less often than once in so many ms: pauses grow up to 300 ms, of which half is random. */
const INTERVAL = 100;

/** XREAD BLOCK milliseconds … as it is on the wire. */
const BLOCKING = /^\*(\d+)\r\n\$5\r\nXREAD\r\n\$5\r\nBLOCK\r\n\$\d+\r\n\d+\r\n/;

/** What a proxy makes of a read that is to wait. @type {Record<string, (chunk: Buffer) => Buffer>} */
const PROXIES = {
  ignores: (chunk) =>
    Buffer.from(
      chunk
        .toString("latin1")
        .replace(BLOCKING, (_, count) => `*${Number(count) - 2}\r\n$5\r\nXREAD\r\n`),
      "latin1",
    ),
  refuses: () => Buffer.from("*2\r\n$5\r\nXREAD\r\n$5\r\nBLOCK\r\n"), // a syntax error
};

// Break when a read that succeeds, whatever it was, ends the pauses between attempts.
for (const [does, instead] of Object.entries(PROXIES)) {
  test(`a proxy that ${does} BLOCK`, async (t) => {
    const redis = await startRedis();
    defer(t, () => redis.stop());
    let [connections, reads] = [0, 0];
    const proxy = await startProxy(redis.port, (link, direction, chunk) => {
      if (direction !== "up") {
        return;
      }
      connections += link.notes.known ? 0 : 1;
      link.notes.known = true;
      reads += chunk.includes("XREAD") ? 1 : 0;
      if (BLOCKING.test(chunk.toString("latin1"))) {
        return { instead: instead(chunk) };
      }
    });
    defer(t, () => proxy.close());
    const two = await startTwo(t, { host: "127.0.0.1", port: proxy.port });
    await two.assertWorks();
    await waitFor(() => warnings.some(({ message }) => /XREAD/.test(message)), {
      what: () => `a warning of XREAD, not ${JSON.stringify(warnings)}`,
    });
    [connections, reads] = [0, 0];
    const began = Date.now();
    await settle(QUIET);
    const most = (2 * (Date.now() - began)) / INTERVAL;
    t.diagnostic(`in ${QUIET} ms: ${reads} reads, ${connections} connections`);
    assert.ok(reads > 0 && reads < most, `${reads} reads of two nodes, ${most} at most`);
    assert.equal(connections, 0, "the connections are kept");
    await two.assertWorks();
    const said = takeWarnings().filter(({ message }) => /XREAD/.test(message));
    assert.equal(said.length, 2, `each node says it once: ${JSON.stringify(said)}`);
  });
}

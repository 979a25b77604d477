// Byte for byte as from socket.io's in-memory adapter, for every way to choose who gets a packet
// and how: rooms, excepted rooms, volatile, compression.
//
// Breaks when fanOut() forgets `compress` (which decides about polls only), or a volatile packet gets an offset.

"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");
const { assertSameBytes } = require("./compare");
const { Sides, TRANSPORTS } = require("./sides");

/** Each client is in a room that is named like its transport. @type {Record<string, (nsp: any) => any>} */
const WAYS = {
  everyone: (nsp) => nsp,
  "a room": (nsp) => nsp.to("websocket"),
  "two rooms": (nsp) => nsp.to(["websocket", "polling"]),
  "a room and one that is empty": (nsp) => nsp.to("polling").to("nobody's"),
  "a room without members": (nsp) => nsp.to("nobody's"),
  "an excepted room": (nsp) => nsp.except("websocket"),
  "all rooms excepted": (nsp) => nsp.except(["websocket", "polling"]),
  "rooms without one": (nsp) => nsp.to(["websocket", "polling"]).except("polling"),
  volatile: (nsp) => nsp.volatile,
  "volatile to a room": (nsp) => nsp.volatile.to("polling"),
  "compression off": (nsp) => nsp.compress(false),
  "compression on": (nsp) => nsp.compress(true),
  "volatile, compressed, to a room": (nsp) => nsp.volatile.compress(true).to("websocket"),
};

/** Long enough for the default threshold of compression. @type {Record<string, any[]>} */
const PAYLOADS = {
  text: ["é".repeat(800), { a: [1] }],
  binary: [Buffer.alloc(2_000, 7), { more: new Uint8Array([1, 2]) }],
};

/** @type {Record<string, import("./sides").SidesOptions>} */
const SETUPS = {
  plain: {},
  "connection state recovery": { server: { connectionStateRecovery: {} } },
  compressed: { server: { perMessageDeflate: true }, deflate: true, gzip: true },
  "compressed, with recovery": {
    server: { perMessageDeflate: true, connectionStateRecovery: {} },
    deflate: true,
    gzip: true,
  },
};

/** @type {[name: string, send: (nsp: any) => unknown][]} */
const CASES = Object.entries(WAYS).flatMap(([way, select]) =>
  Object.entries(PAYLOADS).map(
    ([kind, args]) =>
      /** @type {[string, (nsp: any) => unknown]} */ ([
        `${way}, ${kind}`,
        (nsp) => select(nsp).emit("e", ...args),
      ]),
  ),
);

for (const [setup, options] of Object.entries(SETUPS)) {
  describe(setup, () => {
    const sides = new Sides(options);
    /** @type {Record<string, Record<string, import("./sides").Message[][][]>>} */
    const received = {};
    before(async () => {
      await sides.start(["/"]);
      for (const sender of /** @type {const} */ (["stock", "near", "upstream"])) {
        const sends = CASES.map(([, send]) => send);
        ({ received: received[sender] } = await sides.run("/", sender, sends, { oneByOne: true }));
      }
    });
    after(() => sides.close());

    CASES.forEach(([name], i) => {
      test(name, () => {
        const offsets = Boolean(options.server?.connectionStateRecovery) && !/volatile/.test(name);
        for (const transport of TRANSPORTS) {
          const expected = received.stock[`stock ${transport}`][i];
          for (const [sender, side] of [
            ["near", "near"],
            ["near", "far"],
            ["upstream", "far"],
          ]) {
            const what = `${transport} client of ${side}, sent by ${sender}`;
            assertSameBytes(received[sender][`${side} ${transport}`][i], expected, {
              offsets,
              what,
            });
          }
        }
      });
    });

    test("everybody and nobody were among those", () => {
      const counts = TRANSPORTS.map((t) =>
        received.near[`far ${t}`].map((packets) => packets.length),
      );
      assert.ok(
        counts.every((each) => each.includes(0) && each.includes(1)),
        String(counts),
      );
    });
  });
}

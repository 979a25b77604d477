// A batch whose connection broke before the reply, and whose writer is not let in again for a while: its
// packets fail, and nobody can tell yet whether they had arrived. When the writer is let in, it finds
// out. So no node reports a loss that did not happen.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { startNodeOn } = require("../helpers/node");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { settle, waitFor } = require("../helpers/wait");
const { Emitter } = require("../..");
const { defer } = require("./defer");
const { EVENT, Traffic } = require("./traffic");
require("./warnings"); // cuts and refusals are warned of

/** @typedef {import("../../index").Loss} Loss */

const USER = { username: "app", password: "secret" };
/** How many packets fail: the writer has sent the first ones when its connection breaks. */
const PACKETS = 5;
/** Enough for another two looks at the stream. */
const TWO_LOOKS = 2_300;

const ALL_RIGHTS = ["on", `>${USER.password}`, "~*", "&*", "+@all"];
/** What keeps the writer out, and what lets it in again. */
const REFUSALS = {
  "its password is wrong": { refuse: ["resetpass", ">other"], permit: ["resetpass", ">secret"] },
  "its user is disabled": { refuse: ["off"], permit: ["on"] },
  // The server is another one for the writer: what it had met of the batch, nobody can tell.
  "its user is gone, with a restart": { refuse: ["off"], permit: ALL_RIGHTS, restarts: true },
};

/** Starts a node or an emitter whose packets will be in doubt. */
const SENDERS = {
  "a node": async (
    /** @type {import("node:test").TestContext} */ t,
    /** @type {any} */ settings,
  ) => {
    const node = await startNodeOn({ adapterArgument: settings, close: async () => {} }, {});
    defer(t, () => node.close());
    const client = await connectClient(node.url);
    defer(t, () => client.disconnect());
    const adapter = /** @type {any} */ (node.io.of("/").adapter);
    return { io: node.io, adapter, clients: [client], stats: () => adapter.stats() };
  },
  "an emitter": async (
    /** @type {import("node:test").TestContext} */ t,
    /** @type {any} */ settings,
  ) => {
    const emitter = new Emitter(settings);
    defer(t, () => emitter.close().catch(() => {}));
    return { io: emitter, adapter: undefined, clients: [], stats: () => emitter.stats() };
  },
};

describe("packets that fail while they are in doubt", { concurrency: 4 }, () => {
  for (const [what, refusal] of Object.entries(REFUSALS)) {
    for (const [kind, startSender] of Object.entries(SENDERS)) {
      for (const has of ["had arrived", "had not arrived"]) {
        test(`of ${kind}, while ${what}: nobody reports a loss if they ${has}`, async (t) => {
          const redis = await startRedis({ appendOnly: true });
          defer(t, () => redis.stop());
          const admin = await createAdmin(redis);
          defer(t, () => admin.close());
          const setUser = (/** @type {string[]} */ ...rules) =>
            admin.command("ACL", "SETUSER", USER.username, ...rules);
          await setUser(...ALL_RIGHTS);
          const state = { isArmed: false };
          const proxy = await startProxy(redis.port, (link, direction, chunk) => {
            if (!state.isArmed || direction !== "up" || !chunk.includes("\r\nXADD\r\n")) {
              return;
            }
            state.isArmed = false;
            if (has === "had not arrived") {
              return { pass: 0 };
            }
            link.stall("down");
          });
          defer(t, () => proxy.close());
          const server = { host: redis.host, port: redis.port };
          const sender = await startSender(t, { ...server, ...USER, port: proxy.port });
          const other = await startNodeOn({ adapterArgument: server, close: async () => {} }, {});
          defer(t, () => other.close());
          const witness = await connectClient(other.url);
          defer(t, () => witness.disconnect());
          /** @type {Loss[]} */
          const losses = [];
          for (const adapter of [sender.adapter, other.io.of("/").adapter]) {
            adapter?.on("loss", (/** @type {Loss} */ loss) => losses.push(loss));
          }
          const traffic = new Traffic([sender.io, other.io], [witness, ...sender.clients]);
          traffic.emit(0);
          traffic.emit(1);
          await traffic.assertComplete();

          await setUser(...refusal.refuse);
          state.isArmed = true;
          for (let i = 0; i < PACKETS; i++) {
            traffic.emit(0);
          }
          await waitFor(() => !state.isArmed, { what: "the batch" });
          if (has === "had arrived") {
            await witness.receives(EVENT, traffic.total - PACKETS + 1);
          }
          proxy.cut();
          await waitFor(() => sender.stats().failed === PACKETS, {
            what: () => `the packets to fail, not ${JSON.stringify(sender.stats())}`,
          });
          // Further ones, which are never sent.
          traffic.emit(0);
          await waitFor(() => sender.stats().failed === PACKETS + 1, { what: "one more to fail" });
          if ("restarts" in refusal) {
            await redis.restart();
          }
          await setUser(...refusal.permit);

          await waitFor(
            async () => {
              const { published } = sender.stats();
              traffic.emit(0);
              await settle(100);
              return sender.stats().published > published;
            },
            { what: "the sender to be let in again" },
          );
          const letIn = `0:${traffic.counts[0] - 1}`;
          const flows = traffic.flows();
          traffic.emit(0);
          traffic.emit(1);
          await flows;
          await settle(TWO_LOOKS);
          assert.deepEqual(losses, []);
          const received = traffic.received(witness);
          assert.equal(new Set(received).size, received.length, "nothing is doubled");
          assert.ok(received.includes(letIn), "the first packet that is written");
          const first = received.includes("0:1");
          assert.equal(first, has === "had arrived");
          for (const client of sender.clients) {
            const all = Array.from({ length: traffic.counts[0] }, (_, i) => `0:${i}`);
            const own = traffic.received(client).filter((packet) => packet.startsWith("0:"));
            assert.deepEqual(own, all, "local clients get everything, once and in order");
          }
        });
      }
    }
  }
});

// Packets that cannot be sent to a client that is recovered: the client gets the others, and its node
// lives on. Otherwise the client, whose session outlives the node, ends one node after the other.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const parser = require("socket.io-parser");
const { useCluster } = require("../helpers/cluster");
const { clientWithOffset, cut, missedBy } = require("../helpers/recovery");
const { waitFor } = require("../helpers/wait");
const { addEntry, streamOf } = require("../helpers/wire");
const { warnings } = require("../faults/warnings");

class PickyEncoder extends parser.Encoder {
  /** @param {any} packet */
  encode(packet) {
    if (packet.data?.[1] === "unsendable") {
      throw new Error("the encoder refuses it");
    }
    return super.encode(packet);
  }
}

describe("a packet that the parser of the user's refuses", () => {
  const context = useCluster({
    nodes: 2,
    clientsPerNode: 0,
    serverOptions: {
      connectionStateRecovery: {},
      parser: { Encoder: PickyEncoder, Decoder: parser.Decoder },
    },
  });

  // Breaks when the error ends the process, or when the last offset is that of a packet that the client
  // does not have: then nobody can tell what it holds.
  for (const missed of [
    ["unsendable", 1],
    [1, "unsendable", 2],
    [1, "unsendable"],
    ["unsendable"],
  ]) {
    test(`is left out, with ${JSON.stringify(missed)}`, async () => {
      const { cluster } = context;
      const client = await clientWithOffset(cluster, 0);
      for (const node of [1, 0]) {
        await cut(cluster, client);
        missed.forEach((value) => cluster.io(0).emit("missed", value));
        assert.deepEqual(
          await missedBy(cluster, client, node),
          missed.filter((value) => value !== "unsendable").map((value) => ["missed", value]),
        );
      }
      await cluster.disconnect(client);
    });
  }

  test("keeps no client from being recovered the next time", async () => {
    const { cluster } = context;
    const client = await clientWithOffset(cluster, 0);
    for (const node of [1, 0]) {
      await cut(cluster, client);
      cluster.io(0).emit("missed", "unsendable");
      await cluster.reconnect(client, node);
      assert.equal(client.socket.recovered, true);
    }
    await cluster.disconnect(client);
    assert.ok(warnings.some(({ message }) => message.includes("a recovered client")));
  });
});

/** Packets that are no events. Only an entry that no node writes can have them. */
const OTHERS = [{ type: 3 }, { type: 3, data: [1], id: 1 }, { type: 4, data: { message: "none" } }];

describe("a client whose middlewares run", () => {
  let runs = 0;
  let passage = Promise.resolve();
  const context = useCluster({
    nodes: 1,
    clientsPerNode: 0,
    serverOptions: { connectionStateRecovery: { skipMiddlewares: false } },
    setup: (io) =>
      io.use((_, next) => {
        runs++;
        passage.then(() => next());
      }),
  });

  for (const packet of OTHERS) {
    test(`is recovered without the packet ${JSON.stringify(packet)}`, async () => {
      const { admin, cluster } = context;
      const client = await clientWithOffset(cluster, 0);
      const other = await clientWithOffset(cluster, 0);
      await cut(cluster, client);
      let pass = () => {};
      passage = new Promise((resolve) => (pass = resolve));
      const before = runs;
      const back = cluster.reconnect(client, 0);
      await waitFor(() => runs > before, { what: "the middleware to run" });
      const data = { opts: { rooms: [client.id], except: [] }, packet: { nsp: "/", ...packet } };
      const fields = { uid: "emitter", nsp: "/", type: "3", data: JSON.stringify(data) };
      await addEntry(admin, streamOf("/"), fields);
      cluster.io(0).to(other.id).emit("behind");
      await other.receives("behind");
      pass();
      await back;
      assert.equal(client.socket.recovered, true);
      cluster.io(0).emit("last");
      await client.receives("last");
      await cluster.disconnect(client);
      await cluster.disconnect(other);
    });
  }
});

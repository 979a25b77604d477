// Connection state recovery under load: each packet once, in order, or a fresh start that says so.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { useRedis } = require("../helpers/cluster");
const { SESSION_KEY_PREFIX } = require("../helpers/recovery");
const { waitFor } = require("../helpers/wait");
const { defer } = require("../faults/defer");
const { seed } = require("../faults/random");
const { startAgent } = require("./agent");
const { LedgerClient } = require("./client");
const { Tally } = require("./ledger");
const { OPTIONS, RATE, ROOMS, startLoad } = require("./load");
const { readTruth } = require("./packets");
require("../faults/warnings");

/** @typedef {import("./load").Load} Load */
/** @typedef {import("./load").Middleware} Middleware */

const RECOVERIES = 200;

const context = useRedis();

describe(`${RECOVERIES} recoveries, ${RATE} packets per second: each client gets each packet once, in order`, () => {
  const slow = { recovery: { skipMiddlewares: false }, middleware: delays };
  const paged = { adapterOptions: { historyBytes: 10_000 } };
  const CASES = {
    "middlewares skipped": { recovery: { skipMiddlewares: true }, middleware: delays },
    "middlewares that take 0 to 50 ms": slow,
    "a history that holds next to nothing": paged,
    "a history that holds next to nothing, and slow middlewares": { ...slow, ...paged },
  };

  /** @type {(load: () => Load) => Middleware} */
  function delays(load) {
    return (_, next) => {
      const delay = load().chance() * 50;
      if (delay < 5) {
        next();
      } else {
        setTimeout(next, delay);
      }
    };
  }

  // Break when the switch from missed to live is not at one place of the stream (lost or doubled),
  // when what comes while a middleware runs is dropped or overtakes what was missed, and when a page
  // from the stream and the history overlap or leave a gap.
  for (const [what, options] of Object.entries(CASES)) {
    test(what, async (t) => {
      const load = await startLoad(t, context, options);
      load.start();
      /** @type {LedgerClient[]} */
      const clients = [];
      for (let i = 0; i < 10; i++) {
        clients.push(await load.connect());
      }
      const recovered = () => clients.reduce((sum, client) => sum + client.recovered, 0);
      await Promise.all(
        clients.map(async (client) => {
          while (recovered() < RECOVERIES) {
            await load.cut(client);
            await new Promise((resolve) => setTimeout(resolve, load.pick(100)));
            assert.ok(await client.connect(load.url()), "the client comes back");
            assert.ok(client.socket.recovered, "into its session");
          }
        }),
      );
      const { received } = await load.assertComplete();
      t.diagnostic(`${recovered()} recoveries, ${load.emitted} packets, ${received} received`);
    });
  }
});

/** Finer than timers are. @param {number} ms */
async function pause(ms) {
  const end = performance.now() + ms;
  while (performance.now() < end) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe("a restore that comes to nothing can be tried again", () => {
  // Breaks when a session that was taken out of Redis is not put back, or without what it needs to
  // leave out what the client was not in the room for.
  test("a middleware refuses, twice", async (t) => {
    let refusals = 0;
    const load = await startLoad(t, context, {
      recovery: { skipMiddlewares: false },
      middleware: () => (socket, next) => {
        const comesBack = socket.handshake.auth.pid !== undefined;
        setTimeout(() => {
          next(comesBack && refusals-- > 0 ? new Error("not now") : undefined);
        }, 10);
      },
    });
    load.start();
    const client = await load.connect();
    for (let round = 0; round < 10; round++) {
      await load.cut(client);
      refusals = 2;
      for (let attempt = 0; attempt < 2; attempt++) {
        assert.equal(await client.connect(load.url()), false, "refused");
        await waitFor(() => load.isSaved(client), { what: "the session to be put back" });
      }
      assert.ok(await client.connect(load.url()));
      assert.ok(client.socket.recovered);
    }
    await load.assertComplete();
    assert.equal(client.ledgers.length, 1);
  });

  for (const [what, middleware] of /** @type {[string, (() => Middleware) | undefined][]} */ ([
    ["without middlewares", undefined],
    ["while a middleware runs", () => (_, next) => setTimeout(next, 15)],
  ])) {
    // Breaks when a session is lost with the connection that it was restored for, and when what was
    // sent in front of a CONNECT that did not arrive is sent again on the next connection:
    // socket.io-client keeps what comes before its CONNECT, over connections. It starts anew then.
    test(`the client drops again meanwhile, ${what}`, async (t) => {
      const load = await startLoad(t, context, {
        recovery: { skipMiddlewares: false },
        middleware,
      });
      load.start();
      const client = await load.connect();
      let drops = 0;
      let anew = 0;
      /** How long it takes to come back, at the least, ms: the drops are spread over that time. */
      let shortest = Infinity;
      for (let round = 0; round < 60; round++) {
        await load.cut(client);
        const recovered = client.recovered;
        const begin = performance.now();
        const back = client.connect(load.url());
        if (round < 5) {
          await back;
          shortest = Math.min(shortest, performance.now() - begin);
        } else {
          await Promise.race([back, pause(((round % 20) / 20) * 1.5 * shortest)]);
        }
        if (!client.isConnected) {
          drops++;
          client.cut();
          await load.settled();
          await waitFor(() => load.isSaved(client), { what: "the session to be put back" });
          assert.ok(await client.connect(load.url()));
          anew += client.socket.recovered ? 0 : 1;
        } else {
          assert.ok(client.socket.recovered);
          assert.equal(client.recovered, recovered + 1);
        }
      }
      t.diagnostic(`${drops} of 60 dropped before they were back, ${anew} of them started anew`);
      assert.ok(drops > 5, `${drops} dropped`);
      assert.ok(drops > anew, "who was sent nothing is recovered");
      await load.assertComplete();
    });
  }
});

describe("two who come with one session at once", () => {
  const ROUNDS = 20;

  // Breaks when whoever has read a session gets it, and when one whose session is taken over stays.
  test("one of them has it in the end, on whatever node", async (t) => {
    const load = await startLoad(t, context);
    for (let round = 0; round < ROUNDS; round++) {
      const first = await load.connect(load.url(0));
      const second = new LedgerClient("second", first.rooms);
      defer(t, () => second.disconnect());
      await load.cut(first);
      Object.assign(second.socket, { _pid: first.pid, _lastOffset: first.offset });
      const clients = [first, second];
      const results = await Promise.all(
        clients.map((client, i) => client.connect(load.url((round + i) % 3))),
      );
      assert.deepEqual(results, [true, true]);
      // Who comes second may take the session over from the first.
      const holders = () =>
        clients
          .filter(({ socket }) => socket.connected && socket.recovered)
          .map(({ socket }) => socket.id);
      await waitFor(() => holders().length === 1, {
        what: () => `one to have it in round ${round}, not ${holders()}`,
      });
    }
  });
});

describe("what cannot be proven complete is refused", () => {
  /**
   * Brings a client back and asserts that it starts fresh, and that packets flow.
   *
   * @param {Load} load
   * @param {LedgerClient} client
   * @param {number} node
   */
  async function assertFresh(load, client, node) {
    const sessions = client.ledgers.length;
    assert.ok(await client.connect(load.url(node)));
    assert.equal(client.socket.recovered, false);
    assert.equal(client.ledgers.length, sessions + 1);
    await waitFor(
      () => {
        load.emit();
        return client.ledger && client.ledger.received.length > 0;
      },
      { interval: 20, what: "new packets" },
    );
  }

  // Break when a stream that begins behind the offset counts as whole.
  for (const node of [0, 1, 2]) {
    test(`the stream was trimmed past the offset, back at node ${node}`, async (t) => {
      const load = await startLoad(t, context, { adapterOptions: { historyBytes: 10_000 } });
      const client = await load.connect(load.url(0));
      await load.cut(client);
      const offset = /** @type {string} */ (client.offset);
      for (let i = 0; i < 300; i++) {
        load.emit();
      }
      await load.truth();
      // Or the offset might still be in the history of a node that has yet to read what is behind it.
      await load.isRead();
      await context.admin.command("XTRIM", "socket.io", "MAXLEN", 50);
      assert.deepEqual(await context.admin.command("XRANGE", "socket.io", offset, offset), []);
      await assertFresh(load, client, node);
    });
  }

  // Breaks when an offset is looked for in the stream only: what is in memory is proof enough.
  test("trimmed past the offset, but all of it in memory: restored", async (t) => {
    const load = await startLoad(t, context);
    const client = await load.connect(load.url(0));
    await load.cut(client);
    for (let i = 0; i < 300; i++) {
      load.emit();
    }
    const witness = await load.connect(load.url(1));
    const truth = await load.truth();
    await waitFor(() => witness.isComplete(truth));
    await context.admin.command("XTRIM", "socket.io", "MAXLEN", 10);
    assert.ok(await client.connect(load.url(1)));
    assert.equal(client.socket.recovered, true);
    await waitFor(() => client.isComplete(truth));
    const tally = new Tally();
    client.judge(truth, tally);
    assert.deepEqual(tally.samples, []);
  });

  // Breaks when a gap in a writer's sequences, across which nobody knows what was sent, is no reason.
  for (const historyBytes of [10_000_000, 10_000]) {
    test(`entries of a writer are missing, history of ${historyBytes} bytes`, async (t) => {
      const load = await startLoad(t, context, { adapterOptions: { historyBytes } });
      const client = await load.connect(load.url(0));
      await load.cut(client);
      for (const seq of [1, 2, 5]) {
        await context.admin.command(
          ...["XADD", "socket.io", "*", "uid", "byhand", "nsp", "/", "type", "3"],
          ...[
            "data",
            '{"opts":{"rooms":[],"except":[]},"packet":{"type":2,"data":["x"],"nsp":"/"}}',
          ],
          ...["origin", `1:AAAAAAAAAKo:${seq}`],
        );
      }
      for (let i = 0; i < 300; i++) {
        load.emit();
      }
      await load.truth();
      await load.isRead(); // a node that has yet to come to the gap can prove what is before it
      await assertFresh(load, client, 1);
    });
  }

  // Breaks when the history outlives the stream that it was read from.
  test("the stream was deleted, and that was noticed", async (t) => {
    const load = await startLoad(t, context);
    const client = await load.connect(load.url(0));
    await load.cut(client);
    const adapters = load.cluster.nodes.map(({ index }) => load.cluster.adapter(index));
    const losses = adapters.map(() => 0);
    adapters.forEach((adapter, index) => adapter.on("loss", () => losses[index]++));
    await context.admin.command("DEL", "socket.io");
    await waitFor(() => losses.every((count) => count > 0), { what: "the loss to be noticed" });
    for (const node of [0, 1, 2]) {
      load.emit(node);
    }
    await assertFresh(load, client, 1);
  });
});

describe("a session that is cut before its first packet", () => {
  // Breaks when the client's offset alone says where what it missed begins: socket.io-client sends
  // that of the session before. In memory, and from the stream.
  for (const historyBytes of [10_000_000, 10_000]) {
    test(`gets nothing from before it began, history of ${historyBytes} bytes`, async (t) => {
      const load = await startLoad(t, context, { adapterOptions: { historyBytes } });
      const client = await load.connect(load.url(0));
      const { offset } = client;
      await load.cut(client);
      await context.admin.command("DEL", SESSION_KEY_PREFIX + client.pid);
      for (let i = 0; i < 100; i++) {
        load.emit();
      }
      const witnesses = await Promise.all([0, 1, 2].map((node) => load.connect(load.url(node))));
      const old = await load.truth();
      await waitFor(() => witnesses.every((witness) => witness.isComplete(old)));
      assert.ok(await client.connect(load.url(0)));
      assert.equal(client.socket.recovered, false);
      assert.equal(client.offset, offset, "it still has the old offset");
      await load.cut(client);
      assert.equal(client.ledger?.received.length, 0);
      for (let i = 0; i < 100; i++) {
        load.emit();
      }
      const truth = await load.truth();
      await waitFor(() => witnesses.every((witness) => witness.isComplete(truth)));
      assert.ok(await client.connect(load.url(1)));
      assert.equal(client.socket.recovered, true);
      await waitFor(() => client.isComplete(truth));
      assert.deepEqual(
        client.ledger?.received,
        truth.for(client.rooms).slice(old.for(client.rooms).length),
      );
    });
  }
});

describe("sessions go back and forth between upstream nodes and ours, and nothing is lost", () => {
  // Breaks when a session of upstream's, which has fewer fields, is taken for damaged, and when ours
  // has something in it that upstream trips over. Upstream's own restores lose and double what comes
  // meanwhile, so nothing comes meanwhile there.
  test("from upstream under load, to upstream in a pause", async (t) => {
    await context.admin.command("FLUSHALL");
    const serverOptions = { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } };
    const kinds = /** @type {const} */ (["native", "native", "upstream"]);
    const [ours, emitter, upstream] = await Promise.all(
      kinds.map((kind, sender) =>
        startAgent({
          redis: context.redis,
          kind,
          sender,
          adapterOptions: OPTIONS,
          serverOptions,
        }),
      ),
    );
    defer(t, () => Promise.all([ours, emitter, upstream].map((agent) => agent.close())));
    const client = new LedgerClient("0", ["a", "b"]);
    defer(t, () => client.disconnect());
    const isSaved = async () =>
      (await context.admin.command("EXISTS", SESSION_KEY_PREFIX + client.pid)) === 1;
    const plan = { interval: 3, rooms: ROOMS, seed: seed() };
    /** Waits until what was emitted has come. */
    const truth = async () => {
      await emitter.stopTraffic();
      const { emitted } = await emitter.findings();
      let read = await readTruth(context.admin);
      await waitFor(async () => {
        read = await readTruth(context.admin);
        return read.packets.length === emitted;
      });
      return read;
    };

    // Upstream loses entries between two reads until it has read one.
    const witness = new LedgerClient("witness", []);
    defer(t, () => witness.disconnect());
    assert.ok(await witness.connect(upstream.url));
    await waitFor(
      async () => {
        await emitter.burst(1);
        return witness.offset !== undefined;
      },
      { interval: 20, what: "upstream to read" },
    );
    await emitter.startTraffic(plan);
    assert.ok(await client.connect(upstream.url));
    await waitFor(() => client.offset !== undefined);
    for (let round = 0; round < 10; round++) {
      client.cut();
      await waitFor(isSaved, { what: "upstream to save the session" });
      assert.ok(await client.connect(ours.url));
      assert.ok(client.socket.recovered, "from upstream to ours");
      const before = client.ledger?.received.length ?? 0;
      await waitFor(() => (client.ledger?.received.length ?? 0) > before + 10);

      client.cut();
      await waitFor(isSaved, { what: "our node to save the session" });
      await truth();
      assert.ok(await client.connect(upstream.url));
      assert.ok(client.socket.recovered, "from ours to upstream");
      const all = await truth();
      await waitFor(() => client.isComplete(all), { what: "all that it missed" });
      await emitter.startTraffic({ ...plan, seed: plan.seed + round });
    }
    const all = await truth();
    await waitFor(() => client.isComplete(all));
    const tally = new Tally();
    client.judge(all, tally);
    assert.deepEqual(tally.samples, []);
    assert.equal(client.recovered, 20);
    assert.ok(tally.received > 100, `${tally.received} packets`);
  });
});

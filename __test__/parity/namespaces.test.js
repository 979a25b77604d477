// Namespaces: static ones apart from each other, dynamic ones, and those that are closed when empty.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { adapters, useCluster } = require("../helpers/cluster");
const { assertReceivers, flushed } = require("../helpers/delivery");
const { ANSWER_TIMEOUT, waitFor } = require("../helpers/wait");
const { connectClient } = require("../helpers/socket-client");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const NODES = [0, 1, 2];

describe("static namespaces", () => {
  const context = useCluster({
    namespaces: ["/", "/chat", "/news"],
    setup: (io) => {
      io.of("/chat");
      io.of("/news");
    },
    async prepare(cluster) {
      for (const nsp of ["/chat", "/news"]) {
        for (const node of NODES) {
          cluster.clients.push(await cluster.connect(node, { nsp }));
        }
      }
    },
  });

  /** @param {string} nsp */
  const clientsIn = (nsp) => context.cluster.clients.filter((client) => client.nsp === nsp);

  for (const sender of NODES) {
    describe(`sent by node ${sender} (${adapters.kindOf(sender)})`, () => {
      /** @param {string} nsp */
      const of = (nsp) => context.cluster.io(sender).of(nsp);

      for (const nsp of ["/", "/chat", "/news"]) {
        test(`an emit in ${nsp} stays there`, async () => {
          await assertReceivers(
            context.cluster,
            sender,
            () => of(nsp).emit("hello", nsp),
            clientsIn(nsp),
            ["hello", nsp],
          );
        });
      }

      test("a room of the same name is another one in each namespace", async () => {
        const { cluster } = context;
        const room = `room-${sender}`;
        cluster.clients.forEach((client) => cluster.serverSocket(client).join(room));
        await assertReceivers(
          cluster,
          sender,
          () => of("/news").to(room).emit("hello"),
          clientsIn("/news"),
          ["hello"],
        );
        of("/chat").socketsLeave(room);
        await flushed(cluster, sender);
        for (const client of cluster.clients) {
          assert.equal(cluster.serverSocket(client).rooms.has(room), client.nsp !== "/chat");
        }
      });

      test("fetchSockets and serverCount are the namespace's", async () => {
        for (const nsp of ["/", "/chat", "/news"]) {
          const sockets = await of(nsp).fetchSockets();
          assert.deepEqual(
            sockets.map(({ id }) => id).sort(),
            clientsIn(nsp)
              .map(({ id }) => id)
              .sort(),
          );
          assert.equal(await context.cluster.adapter(sender, nsp).serverCount(), NODES.length);
        }
      });

      test("an acknowledged broadcast asks the namespace's clients", async () => {
        const listeners = context.cluster.clients.map((client) => {
          const listener = (/** @type {(answer: string) => void} */ answer) => answer(client.nsp);
          client.socket.on("where", listener);
          return listener;
        });
        const responses = await of("/news").timeout(ANSWER_TIMEOUT).emitWithAck("where");
        assert.deepEqual(responses, ["/news", "/news", "/news"]);
        context.cluster.clients.forEach(({ socket }, i) => socket.off("where", listeners[i]));
      });

      test("a namespace that exists on this node only", async () => {
        const { cluster } = context;
        const nsp = `/only-${sender}`;
        of(nsp);
        await cluster.whole(nsp, [cluster.nodes[sender]]);
        const client = await cluster.connect(sender, { nsp });
        of(nsp).emit("hello");
        await client.receives("hello");
        assert.equal((await of(nsp).fetchSockets()).length, 1);
        assert.deepEqual(await of(nsp).serverSideEmitWithAck("anyone"), []);
        await cluster.disconnect(client);
      });

      test("a namespace that is opened while the cluster runs", async () => {
        const { cluster } = context;
        const nsp = `/late-${sender}`;
        await cluster.whole(nsp);
        const clients = await Promise.all(NODES.map((node) => cluster.connect(node, { nsp })));
        await assertReceivers(cluster, sender, () => of(nsp).emit("hello"), clients, ["hello"], {
          clients,
        });
        assert.equal((await of(nsp).fetchSockets()).length, NODES.length);
        await Promise.all(clients.map((client) => cluster.disconnect(client)));
      });
    });
  }

  test("a namespace with any characters in its name", async () => {
    const { cluster } = context;
    for (const nsp of ["/é🎉", '/quo"te', "/a#b", "/a/b/c"]) {
      await cluster.whole(nsp);
      // a client cannot ask for some of these in a URL: the adapter is what is tested here
      const received = new Set();
      for (const node of NODES) {
        // @ts-ignore not an event that a namespace is known to emit
        cluster
          .io(node)
          .of(nsp)
          .on("event", (answer) => answer(node));
      }
      for (const node of NODES) {
        const answers = await /** @type {any} */ (cluster.io(node).of(nsp)).serverSideEmitWithAck(
          "event",
        );
        received.add(answers.sort().join());
      }
      assert.deepEqual(received, new Set(["1,2", "0,2", "0,1"]));
    }
  });
});

describe("dynamic namespaces", () => {
  /** @type {import("socket.io").Namespace[]} */
  const parents = [];
  const context = useCluster({
    setup(io, node) {
      parents[node] = io.of(/^\/dynamic-\w+$/);
      io.of((name, auth, next) =>
        next(null, name.startsWith("/function-") && auth.token === "let me in"),
      );
    },
  });

  for (const sender of NODES) {
    const other = (sender + 1) % NODES.length;

    describe(`sent by node ${sender} (${adapters.kindOf(sender)})`, () => {
      for (const [kind, prefix] of /** @type {const} */ ([
        ["a regular expression", "/dynamic-"],
        ["a function", "/function-"],
      ])) {
        test(`by ${kind}: emit, requests and acknowledgements`, async () => {
          const { cluster } = context;
          const nsp = `${prefix}${sender}`;
          const auth = { token: "let me in" };
          const clients = await Promise.all(
            NODES.map((node) => cluster.connect(node, { nsp, auth })),
          );
          const namespace = cluster.io(sender).of(nsp);
          await assertReceivers(
            cluster,
            sender,
            () => namespace.emit("hello"),
            clients,
            ["hello"],
            { clients },
          );
          await cluster.whole(nsp);
          assert.deepEqual(
            (await namespace.fetchSockets()).map(({ id }) => id).sort(),
            clients.map(({ id }) => id).sort(),
          );
          clients.forEach(({ socket }, i) => socket.on("ask", (answer) => answer(i)));
          assert.deepEqual(
            (await namespace.timeout(ANSWER_TIMEOUT).emitWithAck("ask")).sort(),
            NODES,
          );
          await Promise.all(clients.map((client) => cluster.disconnect(client)));
        });
      }

      test("a name that no pattern allows is refused", async () => {
        const { url } = context.cluster.nodes[sender];
        for (const options of [
          { nsp: "/unknown" },
          { nsp: "/dynamic-no-match" },
          { nsp: "/function-refused", auth: { token: "wrong" } },
        ]) {
          await assert.rejects(connectClient(url, options), /Invalid namespace/);
        }
      });

      test("an emit of the parent reaches its children's clients on every node", async () => {
        const { cluster } = context;
        const children = [`/dynamic-a${sender}`, `/dynamic-b${sender}`];
        const clients = await Promise.all(
          children.flatMap((nsp) => [sender, other].map((node) => cluster.connect(node, { nsp }))),
        );
        await assertReceivers(
          cluster,
          sender,
          () => parents[sender].emit("hello", "children"),
          clients,
          ["hello", "children"],
          { clients },
        );
        await Promise.all(clients.map((client) => cluster.disconnect(client)));
      });

      test("to(room) of the parent", async () => {
        const { cluster } = context;
        const children = [`/dynamic-c${sender}`, `/dynamic-d${sender}`];
        const clients = await Promise.all(
          children.flatMap((nsp) => [sender, other].map((node) => cluster.connect(node, { nsp }))),
        );
        const members = [clients[0], clients[3]];
        members.forEach((client) => cluster.serverSocket(client).join("room"));
        await assertReceivers(
          cluster,
          sender,
          () => parents[sender].to("room").emit("hello"),
          members,
          ["hello"],
          { clients },
        );
        await Promise.all(clients.map((client) => cluster.disconnect(client)));
      });
    });
  }
});

describe("cleanupEmptyChildNamespaces", () => {
  const context = useCluster({
    serverOptions: { cleanupEmptyChildNamespaces: true },
    setup: (io) => io.of(/^\/child-/),
  });

  /**
   * @param {number} node
   * @param {string} nsp
   */
  const isOpen = (node, nsp) => context.cluster.io(node)._nsps.has(nsp);

  for (const node of NODES) {
    const other = (node + 1) % NODES.length;

    describe(`on node ${node} (${adapters.kindOf(node)})`, () => {
      test("an empty namespace is closed, and the others go on", async () => {
        const { cluster } = context;
        const nsp = `/child-a${node}`;
        const leaver = await cluster.connect(node, { nsp });
        const stayer = await cluster.connect(other, { nsp });
        await cluster.disconnect(leaver);
        await waitFor(() => !isOpen(node, nsp));
        cluster.io(other).of(nsp).emit("hello");
        await stayer.receives("hello");
        await assertReceivers(
          cluster,
          node,
          () => cluster.io(node).emit("hello"),
          cluster.clients,
          ["hello"],
        );
        await cluster.disconnect(stayer);
      });

      test("a namespace that is opened again gets what is emitted, once", async () => {
        const { cluster } = context;
        const nsp = `/child-b${node}`;
        const stayer = await cluster.connect(other, { nsp });
        for (let round = 0; round < 10; round++) {
          const client = await cluster.connect(node, { nsp });
          await assertReceivers(
            cluster,
            other,
            () => cluster.io(other).of(nsp).emit("hello", round),
            [client, stayer],
            ["hello", round],
            { clients: [client, stayer] },
          );
          await assertReceivers(
            cluster,
            node,
            () => cluster.io(node).of(nsp).emit("hello", "own", round),
            [client, stayer],
            ["hello", "own", round],
            { clients: [client, stayer] },
          );
          await cluster.disconnect(client);
          await waitFor(() => !isOpen(node, nsp));
        }
        await cluster.disconnect(stayer);
      });

      test(
        "a closed namespace no longer counts as a server",
        {
          skip: adapters.upstreamCannot("it stays subscribed to a closed namespace's channels", [
            node,
          ]),
        },
        async () => {
          const { cluster } = context;
          const nsp = `/child-c${node}`;
          const leaver = await cluster.connect(node, { nsp });
          const stayer = await cluster.connect(other, { nsp });
          await cluster.whole(nsp, [cluster.nodes[node], cluster.nodes[other]]);
          await cluster.disconnect(leaver);
          await cluster.whole(nsp, [cluster.nodes[other]]);
          assert.equal((await cluster.io(other).of(nsp).fetchSockets()).length, 1);
          await cluster.disconnect(stayer);
        },
      );

      test(
        "a namespace that is opened again answers requests, once",
        {
          skip: adapters.upstreamCannot(
            "the closed namespace's adapter goes on answering, without sockets",
            [node],
          ),
        },
        async () => {
          const { cluster } = context;
          const nsp = `/child-d${node}`;
          const stayer = await cluster.connect(other, { nsp });
          for (let round = 0; round < 5; round++) {
            const client = await cluster.connect(node, { nsp });
            await cluster.whole(nsp, [cluster.nodes[node], cluster.nodes[other]]);
            for (const asker of [node, other]) {
              const sockets = await cluster.io(asker).of(nsp).fetchSockets();
              assert.deepEqual(sockets.map(({ id }) => id).sort(), [client.id, stayer.id].sort());
            }
            // @ts-ignore not an event that a namespace is known to emit
            cluster
              .io(node)
              .of(nsp)
              .once("ask", (answer) => answer(round));
            assert.deepEqual(
              await /** @type {any} */ (cluster.io(other).of(nsp)).serverSideEmitWithAck("ask"),
              [round],
            );
            await cluster.disconnect(client);
            await waitFor(() => !isOpen(node, nsp));
          }
          await cluster.disconnect(stayer);
        },
      );

      test(
        "an adapter that is closed a second time leaves its successor alone",
        {
          skip: adapters.upstreamCannot("it forgets whichever adapter has the namespace's name", [
            node,
          ]),
        },
        async () => {
          const { cluster } = context;
          const nsp = `/child-e${node}`;
          const first = await cluster.connect(node, { nsp });
          const adapter = cluster.adapter(node, nsp);
          await cluster.disconnect(first);
          await waitFor(() => !isOpen(node, nsp));
          const second = await cluster.connect(node, { nsp });
          assert.notEqual(cluster.adapter(node, nsp), adapter);
          adapter.close();
          const clients = [second, await cluster.connect(other, { nsp })];
          await assertReceivers(
            cluster,
            other,
            () => cluster.io(other).of(nsp).emit("hello"),
            clients,
            ["hello"],
            { clients },
          );
          await Promise.all(clients.map((client) => cluster.disconnect(client)));
        },
      );
    });
  }
});

// Requests and acknowledgements.

"use strict";

/** @typedef {import("../servers").Servers} Servers */

/** How a promise ended, as JSON. @param {Promise<any>} promise */
const outcome = (promise) =>
  promise.then(
    (value) => ({ value }),
    ({ message, responses }) => ({ message, responses }),
  );

/** Two clients, of which the one named "quiet" does not answer. @param {Servers} servers */
async function connectTwo(servers) {
  const clients = [await servers.connect(0), await servers.connect(1)];
  clients.forEach(({ socket }, i) => {
    socket.on("ask", (...args) => args.pop()(`answer ${i}`, args.length));
    socket.on("ask the second", (/** @type {any} */ answer) => i === 1 && answer({ from: i }));
    socket.on("ask for binary", (data, answer) => answer(Buffer.concat([data, Buffer.from([i])])));
    socket.on("ask for nothing", (answer) => answer());
  });
  return clients;
}

/** The answers come in any order. @param {any} result */
const sorted = (result) => {
  result.value?.sort?.((/** @type {any} */ a, /** @type {any} */ b) =>
    JSON.stringify(a) < JSON.stringify(b) ? -1 : 1,
  );
  return result;
};

/** @param {any} socket as `fetchSockets()` gives it */
const shapeOf = ({ id, handshake, rooms, data }) => ({
  id,
  rooms: [...rooms].sort((a, b) => a.length - b.length),
  data,
  handshake: Object.keys(handshake).sort(),
  auth: handshake.auth,
  query: handshake.query.who,
});

/** @type {Record<string, import("../differential.test").Scenario>} */
module.exports = {
  acknowledgements: {
    nodes: 2,
    differs: { upstream: "of this node only: it waits for the other nodes in vain" },
    run: async (servers) => {
      const clients = await connectTwo(servers);
      const io = servers.io(0).timeout(1_500);
      return {
        all: sorted(await outcome(io.emitWithAck("ask", 1, 2))),
        one: await outcome(io.to(clients[1].id).emitWithAck("ask")),
        none: await outcome(io.to("nobody").emitWithAck("ask")),
        local: await outcome(
          servers.io(0).local.timeout(1_500).to(clients[0].id).emitWithAck("ask"),
        ),
        binary: sorted(await outcome(io.emitWithAck("ask for binary", Buffer.from("x")))),
        nothing: await outcome(io.emitWithAck("ask for nothing")),
        others: await outcome(
          servers.socketOf(clients[0]).broadcast.timeout(1_500).emitWithAck("ask"),
        ),
      };
    },
  },
  "acknowledgements of which one is missing": {
    nodes: 2,
    run: async (servers) => {
      await connectTwo(servers);
      const io = servers.io(0).timeout(300);
      const withCallback = new Promise((resolve) =>
        io.emit("ask the second", (/** @type {any} */ error, /** @type {any} */ responses) =>
          resolve([error.message, error.responses, responses]),
        ),
      );
      return [await outcome(io.emitWithAck("ask the second")), await withCallback];
    },
  },
  "fetchSockets()": {
    nodes: 2,
    run: async (servers) => {
      const clients = [];
      for (const node of [0, 1]) {
        const auth = { token: "t", nested: { deep: [1, null] } };
        clients.push(await servers.connect(node, { auth, query: { who: `client ${node}` } }));
      }
      servers.socketOf(clients[0]).join("a");
      Object.assign(servers.socketOf(clients[1]).data, {
        name: "x",
        at: new Date(0),
        bytes: Buffer.from("x"),
        gone: undefined,
      });
      const byQuery = (/** @type {any} */ a, /** @type {any} */ b) => (a.query < b.query ? -1 : 1);
      const all = (await servers.io(0).fetchSockets()).map(shapeOf).sort(byQuery);
      const inRoom = (await servers.io(1).in("a").fetchSockets()).map(shapeOf);
      const others = (await servers.io(0).except("a").fetchSockets()).map(({ id }) => id);
      const nobody = await servers.io(0).in("nobody").fetchSockets();
      return { all, inRoom, others, nobody };
    },
    differs: { memory: "it gives the objects themselves, with a field that is undefined" },
  },
  "a socket of another node": {
    nodes: 2,
    races: { upstream: "a request may overtake a packet" },
    run: async (servers) => {
      const [near, far] = await connectTwo(servers);
      const [remote] = await servers.io(0).in(far.id).fetchSockets();
      remote.emit("direct", 1);
      const answer = await outcome(/** @type {any} */ (remote).timeout(1_500).emitWithAck("ask"));
      remote.join(["a", "b"]);
      remote.leave("b");
      servers.io(0).to("a").emit("to a");
      await servers.settle();
      const gone = new Promise((resolve) => far.socket.once("disconnect", resolve));
      remote.disconnect();
      return { answer, reason: await gone, got: [near, far].map((c) => servers.events(c)) };
    },
  },
  "serverSideEmit()": {
    nodes: 3,
    notInMemory: "it has none",
    run: async (servers) => {
      /** @type {any[]} */
      const heard = [];
      [0, 1, 2].forEach((i) => {
        const io = /** @type {any} */ (servers.io(i));
        io.on("tell", (/** @type {any[]} */ ...args) => heard.push([i, ...servers.shape(args)]));
        io.on("ask", (/** @type {any} */ value, /** @type {any} */ answer) => answer([i, value]));
        io.of("/other").on("tell", () => heard.push([i, "other"]));
      });
      const io = /** @type {any} */ (servers.io(0));
      await servers.settle(await servers.connect(1));
      io.serverSideEmit("tell", 1, { at: new Date(0) }, Buffer.from("x"), null);
      const responses = (await io.serverSideEmitWithAck("ask", "x")).sort();
      const others = [1, 2].map((i) => heard.filter(([node]) => node === i));
      return { responses, others, own: heard.filter(([node]) => node === 0) };
    },
  },
  "serverSideEmit() from the only node": {
    notInMemory: "it has none",
    run: async (servers) => outcome(/** @type {any} */ (servers.io()).serverSideEmitWithAck("ask")),
  },
  "what calls return": {
    run: async (servers) => {
      const client = await servers.connect();
      const io = /** @type {any} */ (servers.io());
      const kind = (/** @type {any} */ value) =>
        typeof value?.then === "function" ? "a promise" : (value?.constructor?.name ?? `${value}`);
      return {
        emit: io.emit("x"),
        local: io.local.emit("x"),
        volatile: io.volatile.emit("x"),
        socketsJoin: kind(io.socketsJoin("a")),
        socketsLeave: kind(io.socketsLeave("a")),
        disconnectSockets: kind(io.in("nobody").disconnectSockets()),
        fetchSockets: kind(io.fetchSockets()),
        allSockets: kind(await io.allSockets()),
        rooms: kind(io.sockets.adapter.rooms),
        sids: kind(io.sockets.adapter.sids),
        socketRooms: kind(io.sockets.adapter.socketRooms(client.id)),
        sockets: kind(await io.sockets.adapter.sockets(new Set())),
        serverCount: await io.sockets.adapter.serverCount(),
      };
    },
  },
};

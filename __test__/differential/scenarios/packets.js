// What clients get, and what listeners for outgoing packets see.

"use strict";

const { AsyncLocalStorage } = require("node:async_hooks");
const { Adapter } = require("socket.io-adapter");
const parser = require("socket.io-parser");
const { waitFor } = require("../../helpers/wait");

/** @typedef {import("../servers").Servers} Servers */

class WithToJson {
  constructor() {
    this.secret = 1;
  }
  toJSON() {
    return { shown: this.secret };
  }
}

/** @type {Record<string, any[]>} */
const VALUES = {
  texts: ["\ud800", "\u2028\u0000é😀", ""],
  numbers: [1e21, 0.1, 1e-7, -0, NaN, Infinity, 123456789012345680000],
  "no value": [undefined, null, { gone: undefined, kept: null }, [undefined]],
  "no value beside binary": [undefined, { gone: undefined, is: NaN }, Buffer.from("x")],
  dates: [new Date(0), { at: new Date(1) }],
  "dates beside binary": [new Date(0), Buffer.from("x")],
  collections: [new Map([[1, 2]]), new Set([1])],
  classes: [new WithToJson(), new String("s"), new Number(1), Object.create({ inherited: 1 })],
  "classes beside binary": [new WithToJson(), Buffer.from("x")],
  "functions and symbols": [{ f() {}, x: 1 }, Symbol("x")],
  holes: [[1, , 2]],
  binary: [Buffer.from("ab"), new Uint8Array([1]), new Uint16Array([1, 2]), new Float64Array([1])],
  "array buffers": [new Uint8Array([9]).buffer, new DataView(new Uint8Array([7]).buffer)],
  "nested binary": [{ a: [{ b: Buffer.from("z") }, Buffer.alloc(0)] }],
  "the key __proto__": [JSON.parse('{"__proto__":{"x":1},"y":2}')],
  "a placeholder that is none": [{ _placeholder: true, num: 0 }],
  "no arguments": [],
};

/** @type {import("../differential.test").Scenario} */
const values = {
  nodes: 2,
  differs: { upstream: "beside binary, undefined in an object becomes null on other nodes" },
  run: async (servers) => {
    const clients = [await servers.connect(0), await servers.connect(1)];
    /** @type {any[]} */
    const heard = [];
    servers.socketOf(clients[0]).onAnyOutgoing((/** @type {any[]} */ ...args) => {
      if (args[0] in VALUES) {
        heard.push(servers.shape(...args));
      }
    });
    for (const [name, payload] of Object.entries(VALUES)) {
      servers.io(0).emit(name, ...payload);
    }
    await servers.settle();
    return { heard, got: clients.map((client) => servers.events(client)) };
  },
};

/** @type {import("../differential.test").Scenario} */
const bigInts = {
  nodes: 2,
  run: async (servers) => {
    const clients = [await servers.connect(0), await servers.connect(1)];
    /** @type {any} */ (BigInt.prototype).toJSON = function () {
      return `${this}`;
    };
    try {
      servers.io(0).emit("alone", 5n, { id: 6n });
      servers.io(0).emit("beside binary", 5n, Buffer.from("x"));
      await servers.settle();
    } finally {
      delete (/** @type {any} */ (BigInt.prototype).toJSON);
    }
    return clients.map((client) => servers.events(client));
  },
};

/** @type {import("../differential.test").Scenario} */
const twelveAttachments = {
  nodes: 2,
  run: async (servers) => {
    // Clients take ten by default.
    class Decoder extends parser.Decoder {
      constructor() {
        super({ maxAttachments: 12 });
      }
    }
    const clients = [];
    for (const node of [0, 1]) {
      clients.push(await servers.connect(node, { parser: { ...parser, Decoder } }));
    }
    /** @type {any[]} */
    const heard = [];
    for (const client of clients) {
      servers
        .socketOf(client)
        .onAnyOutgoing((/** @type {string} */ event, /** @type {any[]} */ ...args) => {
          if (event === "many") {
            heard.push(servers.shape(event, ...args));
          }
        });
    }
    servers.io(0).emit("many", ...Array.from({ length: 12 }, (_, i) => Buffer.from([i])));
    await servers.settle();
    return { heard, got: clients.map((client) => servers.events(client)) };
  },
};

/** Encodes as the stock encoder does, and notes what it is given. */
class NotingEncoder extends parser.Encoder {
  /** @param {any} packet */
  encode(packet) {
    return super.encode({ ...packet, data: mark(packet) });
  }
}

/** The data of an event with one more argument. @param {any} packet */
const mark = ({ type, data }) =>
  type === parser.PacketType.EVENT ? [...data, "encoded by us"] : data;

/**
 * Replaces the encoder of the servers, as libraries do that compress, sign or encrypt packets.
 *
 * @param {(io: any) => void} replace
 * @returns {import("../differential.test").Scenario}
 */
const otherEncoder = (replace) => ({
  nodes: 2,
  run: async (servers) => {
    servers.all.forEach(replace);
    const clients = [await servers.connect(0), await servers.connect(1)];
    servers.socketOf(clients[1]).join("a");
    servers.io(0).emit("to all", { x: 1 });
    servers.io(0).to("a").emit("to a", 1);
    servers.io(0).emit("binary", Buffer.from("x"));
    await servers.settle();
    servers.socketOf(clients[0]).emit("to one", 1);
    await servers.settle();
    return clients.map((client) => servers.events(client));
  },
});

/**
 * Emits over and over, and counts how many of each event arrive.
 *
 * @param {(io: import("socket.io").Server, isWritable: () => Promise<unknown>) => unknown} emit it may
 * wait until the client's connection takes volatile packets
 */
const volatile = (emit) => async (/** @type {Servers} */ servers) => {
  const client = await servers.connect();
  const isWritable = async () => {
    await servers.settle();
    await waitFor(() => servers.socketOf(client).conn.transport.writable);
  };
  for (let i = 0; i < 20; i++) {
    await isWritable();
    await emit(servers.io(), isWritable);
    await servers.settle();
  }
  const names = servers.events(client).map(([name]) => name);
  return Object.fromEntries(
    [...new Set(names)].map((n) => [n, names.filter((m) => m === n).length]),
  );
};

/** Whom a chain of operators reaches. @param {(io: any, sockets: any[]) => any[]} chains */
const targets = (chains) => async (/** @type {Servers} */ servers) => {
  const clients = [];
  for (const node of [0, 0, 1]) {
    clients.push(await servers.connect(node));
  }
  const sockets = clients.map((client) => servers.socketOf(client));
  sockets[0].join(["a", "b"]);
  sockets[1].join("b");
  sockets[2].join(["a", "c"]);
  chains(servers.io(0), sockets).forEach((chain, i) => chain.emit("to", i));
  await servers.settle();
  // The nodes' packets come in any order.
  return clients.map((client) =>
    servers
      .events(client)
      .map(([, i]) => i)
      .sort(),
  );
};

module.exports = {
  "all kinds of values": values,
  "all kinds of values with connection state recovery": {
    ...values,
    options: { connectionStateRecovery: {} },
    differs: {
      upstream: "its packets with binary have no offset for the clients of the same node",
    },
  },
  "all kinds of values over long polling": {
    run: async (/** @type {Servers} */ servers) => {
      const client = await servers.connect(0, { transports: ["polling"] });
      for (const [name, payload] of Object.entries(VALUES)) {
        servers.io(0).emit(name, ...payload);
      }
      await servers.settle();
      return servers.events(client);
    },
  },
  "twelve attachments": twelveAttachments,
  "twelve attachments with a replaced Adapter.prototype.broadcast": {
    ...twelveAttachments,
    run: async (/** @type {Servers} */ servers) => {
      const stock = Adapter.prototype.broadcast;
      Adapter.prototype.broadcast = function (/** @type {any} */ packet, /** @type {any} */ opts) {
        return stock.call(this, packet, opts);
      };
      try {
        return await twelveAttachments.run(servers);
      } finally {
        Adapter.prototype.broadcast = stock;
      }
    },
  },
  "an encoder that is replaced in place": otherEncoder((io) => {
    io.encoder = new NotingEncoder();
  }),
  "an encoder whose encode() is replaced": otherEncoder((io) => {
    const { encoder } = io;
    const encode = encoder.encode.bind(encoder);
    encoder.encode = (/** @type {any} */ packet) => encode({ ...packet, data: mark(packet) });
  }),
  "a patched socket.packet()": {
    nodes: 2,
    run: async (/** @type {Servers} */ servers) => {
      const clients = [await servers.connect(0), await servers.connect(1)];
      /** @type {any[]} */
      const seen = [];
      for (const client of clients) {
        const socket = servers.socketOf(client);
        const packet = socket.packet.bind(socket);
        socket.packet = (/** @type {any} */ what, /** @type {any} */ opts) => {
          seen.push(what.data[0]);
          packet(what, opts);
        };
      }
      servers.io(0).emit("broadcast");
      await servers.settle();
      clients.forEach((client) => servers.socketOf(client).emit("direct"));
      await servers.settle();
      return {
        seen: seen.filter((event) => event !== "settled"),
        got: clients.map((c) => servers.events(c)),
      };
    },
  },
  "packets of Engine.IO": {
    nodes: 2,
    run: async (/** @type {Servers} */ servers) => {
      const clients = [await servers.connect(0), await servers.connect(1)];
      /** @type {any[]} */
      const seen = [[], []];
      clients.forEach((client, i) =>
        servers
          .socketOf(client)
          .conn.on("packetCreate", (/** @type {any} */ { type, data, options }) => {
            if (type === "message" && !String(data).includes("settled")) {
              const { compress, volatile, wsPreEncodedFrame } = options;
              const frame =
                wsPreEncodedFrame && Buffer.concat(wsPreEncodedFrame).toString("latin1");
              seen[i].push({ data: servers.shape(data), compress, volatile, frame });
            }
          }),
      );
      const io = servers.io(0);
      for (const emit of [
        () => io.emit("text", "é", { x: [1] }),
        () => io.compress(false).emit("not compressed", 1),
        () => io.compress(true).emit("compressed", 1),
        () => io.emit("binary", Buffer.from("x"), { y: Buffer.from("z") }),
        () => io.volatile.emit("volatile", 1),
      ]) {
        await waitFor(() => clients.every((c) => servers.socketOf(c).conn.transport.writable));
        emit();
        await servers.settle();
      }
      return seen;
    },
  },
  "BigInts with a toJSON()": {
    ...bigInts,
    differs: { upstream: "clients of other nodes do not get the one with binary" },
  },
  "rooms, exceptions and flags": {
    nodes: 2,
    run: targets((io, [first, second, third]) => [
      io,
      io.to("a"),
      io.to("a").to("b"),
      io.to(["a", "b", "c"]),
      io.to("a").except("b"),
      io.except("a"),
      io.except(["b", "c"]),
      io.in(second.id),
      io.to("nobody"),
      io.compress(false).to("c"),
      io.timeout(1_000).to("c"),
      first.broadcast,
      first.to("a"),
      first.to("b").except("a"),
      third.broadcast,
      third.to(third.id),
    ]),
  },
  "only this node": {
    nodes: 2,
    run: targets((io) => [io.local, io.local.to("a"), io.to("a").local.except("b")]),
    differs: { memory: "one server plays all nodes there" },
  },
  "two volatile packets in one tick": {
    run: volatile((io) => {
      io.volatile.emit("first");
      io.volatile.emit("second");
    }),
  },
  "two volatile packets with binary in one tick": {
    run: volatile((io) => {
      io.volatile.emit("first", Buffer.from("x"));
      io.volatile.emit("second", Buffer.from("x"));
    }),
  },
  "volatile packets of another node": {
    nodes: 2,
    run: async (/** @type {Servers} */ servers) => {
      const client = await servers.connect(1);
      for (let i = 0; i < 20; i++) {
        await servers.settle();
        await waitFor(() => servers.socketOf(client).conn.transport.writable);
        servers.io(0).volatile.emit("volatile", i);
        await servers.settle();
      }
      return servers.events(client);
    },
  },
  "a volatile packet behind another one": {
    run: volatile((io) => {
      io.emit("first");
      io.volatile.emit("second");
    }),
  },
  "a volatile packet in another tick": {
    run: volatile(async (io, isWritable) => {
      io.volatile.emit("first");
      await isWritable();
      io.volatile.emit("second");
      await isWritable();
      io.emit("third");
    }),
  },
  "volatile packets behind one in another room": {
    run: async (/** @type {Servers} */ servers) => {
      const clients = [await servers.connect(), await servers.connect()];
      servers.socketOf(clients[0]).join("a");
      servers.io().to("a").emit("to a");
      servers.io().volatile.emit("to all");
      await servers.settle();
      return clients.map((client) => servers.events(client));
    },
  },
  "a payload that is changed after the emit": {
    nodes: 2,
    run: async (/** @type {Servers} */ servers) => {
      const clients = [await servers.connect(0), await servers.connect(1)];
      const payload = { count: 1 };
      servers.io(0).emit("payload", payload);
      payload.count = 2;
      await servers.settle();
      return clients.map((client) => servers.events(client));
    },
    differs: { upstream: "clients of the same node get the change, clients of others do not" },
  },
  "AsyncLocalStorage in listeners": {
    run: async (/** @type {Servers} */ servers) => {
      const client = await servers.connect();
      const socket = servers.socketOf(client);
      const { adapter } = servers.io().sockets;
      const storage = new AsyncLocalStorage();
      /** @type {any[]} */
      const seen = [];
      socket.onAnyOutgoing((/** @type {string} */ event) => {
        if (event.startsWith("emit")) {
          seen.push([event, storage.getStore()]);
        }
      });
      for (const event of ["join-room", "leave-room"]) {
        adapter.on(event, (room) => seen.push([event, room, storage.getStore()]));
      }
      socket.on("disconnect", () => seen.push(["disconnect", storage.getStore()]));
      const io = servers.io();
      for (const [name, act] of Object.entries({
        "an emit": () => io.emit("emit"),
        "an emit with binary": () => io.emit("emit binary", Buffer.from("x")),
        socketsJoin: () => io.socketsJoin("r"),
        socketsLeave: () => io.socketsLeave("r"),
      })) {
        storage.run(name, () => void act());
        await servers.settle();
      }
      const disconnected = new Promise((resolve) => socket.on("disconnect", resolve));
      storage.run("disconnectSockets", () => io.disconnectSockets());
      await disconnected;
      return seen;
    },
  },
};

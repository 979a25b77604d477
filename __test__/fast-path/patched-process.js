// Run by patched.test.js: replaces what socket.io encodes or delivers with, before anything loads the
// adapter, and reports what clients get.

"use strict";

const { Adapter } = require("socket.io-adapter");
const { Encoder, PacketType } = require("socket.io-parser");

let calls = 0;

/** @param {any} prototype @param {string} name @param {(stock: Function) => Function} make */
function replace(prototype, name, make) {
  prototype[name] = make(prototype[name]);
}

/** @param {any} packet */
const signed = (packet) =>
  packet.type === PacketType.EVENT ? { ...packet, data: [...packet.data, "signed"] } : packet;

/** @type {Record<string, () => void>} */
const PATCHES = {
  nothing() {},
  "encode(), to sign": () =>
    replace(
      Encoder.prototype,
      "encode",
      (stock) =>
        /** @this {any} @param {any} packet */
        function (packet) {
          return stock.call(this, signed(packet));
        },
    ),
  // With other words than `call`.
  "encode(), to measure": () =>
    replace(Encoder.prototype, "encode", (stock) => {
      return new Proxy(stock, {
        apply(target, self, args) {
          calls++;
          return Reflect.apply(target, self, args);
        },
      });
    }),
  "encodeAsString(), for one event": () =>
    replace(
      Encoder.prototype,
      "encodeAsString",
      (stock) =>
        /** @this {any} @param {any} packet */
        function (packet) {
          const text = stock.call(this, packet);
          return text.replace('"secret"', '"hidden"');
        },
    ),
  // Written anew, with the names that socket.io uses.
  "encode(), anew": () =>
    replace(
      Encoder.prototype,
      "encode",
      () =>
        /** @this {any} @param {any} packet */
        function (packet) {
          const text = this.encodeAsString(signed(packet));
          return typeof this.encodeAsBinary === "function" ? [text] : [];
        },
    ),
  "broadcast()": () =>
    replace(
      Adapter.prototype,
      "broadcast",
      (stock) =>
        /** @this {any} @param {any} packet @param {any} opts */
        function (packet, opts) {
          calls++;
          return stock.call(this, signed(packet), opts);
        },
    ),
};

const [, , url, kind, patch] = process.argv;
PATCHES[patch]();
const { Servers } = require("../differential/servers");

(async () => {
  const servers = await Servers.start(/** @type {any} */ ({ url }), /** @type {any} */ (kind), {
    nodes: 2,
  });
  const clients = [await servers.connect(0), await servers.connect(1)];
  const before = calls;
  servers.io(0).emit("secret", { x: 1 });
  servers.io(0).to(clients[1].id).emit("to one", "é");
  await servers.settle();
  const got = clients.map((client) => servers.events(client));
  const { canFanOut } = require("../../lib/stock");
  const isFast = kind === "native" && canFanOut(servers.io(0).of("/").adapter);
  await servers.close();
  process.send?.({ got, wasCalled: calls > before, isFast });
})();

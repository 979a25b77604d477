"use strict";
// Whether packets may bypass socket.io's encoder and `Adapter.prototype.broadcast`. They may not if one of
// them was replaced, as libraries do that measure, sign or encrypt packets, at any time: before this file
// was loaded as well.

const { ClusterAdapter } = require("socket.io-adapter");

/** The in-memory adapter, which does the local part. */
const InMemoryAdapter = Object.getPrototypeOf(ClusterAdapter.prototype);

/** The encoder's methods, each with properties that socket.io's own one uses. Minifiers keep them. */
const ENCODER = {
  encode: ["encodeAsBinary", "encodeAsString"],
  encodeAsBinary: ["encodeAsString", "buffers"],
  encodeAsString: ["JSON.stringify", "attachments"],
};
const BROADCAST = ["notifyOutgoingListeners", "writeToEngine"];

/** socket.io's type of packets that are events. */
const EVENT = 2;
/** A packet, and what it is on its way to clients. @type {[any[], (string | Buffer)[]][]} */
const PROBES = [
  [["probe", 1], ['2["probe",1]']],
  [
    ["probe", Buffer.from("x")],
    ['51-["probe",{"_placeholder":true,"num":0}]', Buffer.from("x")],
  ],
];

/**
 * Whether a method is socket.io's own, by its source: one that was put in its place calls it, or does
 * something else.
 *
 * @param {unknown} method
 * @param {string[]} properties that it must use
 */
function isOwn(method, properties) {
  if (typeof method !== "function") {
    return false;
  }
  const source = Function.prototype.toString.call(method);
  return properties.every((name) => source.includes(name)) && !source.includes(".call(");
}

const stockBroadcast = isOwn(InMemoryAdapter.broadcast, BROADCAST)
  ? InMemoryAdapter.broadcast
  : undefined;

/** The methods of each encoder when it was first seen; undefined if they were not socket.io's own.
 * @type {WeakMap<object, Record<string, Function> | undefined>} */
const stockMethods = new WeakMap();

/** @param {any} Encoder of a parser */
function methodsOf(Encoder) {
  const own = Object.entries(ENCODER).every(([name, properties]) =>
    isOwn(Encoder.prototype[name], properties),
  );
  if (!own || !PROBES.every(([data, parts]) => encodesTo(new Encoder(), data, parts))) {
    return undefined;
  }
  return Object.fromEntries(Object.keys(ENCODER).map((name) => [name, Encoder.prototype[name]]));
}

/**
 * @param {any} encoder
 * @param {any[]} data
 * @param {(string | Buffer)[]} parts
 */
function encodesTo(encoder, data, parts) {
  const encoded = encoder.encode({ type: EVENT, nsp: "/", data });
  const isSame = (/** @type {string | Buffer} */ part, /** @type {number} */ i) =>
    typeof part === "string" ? part === encoded[i] : part.equals(encoded[i]);
  return Array.isArray(encoded) && encoded.length === parts.length && parts.every(isSame);
}

/**
 * Whether the engine may encode the packets of a namespace. It may not if the user set a parser.
 *
 * @param {any} nsp
 */
function canEncode({ server }) {
  if (server.opts.parser !== undefined) {
    return false;
  }
  const { Encoder } = server._parser;
  if (!stockMethods.has(Encoder)) {
    stockMethods.set(Encoder, methodsOf(Encoder));
  }
  return true;
}

/**
 * Whether packets that the engine has encoded are what an encoder would make of them.
 *
 * @param {any} encoder
 * @param {any} server
 */
function isStock(encoder, server) {
  const stock = stockMethods.get(server._parser.Encoder);
  return (
    stock !== undefined &&
    encoder.encode === stock.encode &&
    encoder.encodeAsString === stock.encodeAsString &&
    encoder.encodeAsBinary === stock.encodeAsBinary &&
    encoder.replacer === undefined
  );
}

/** False if the support for uWebSockets.js has replaced it, which it may do at any time. */
function isStockBroadcast() {
  return InMemoryAdapter.broadcast === stockBroadcast;
}

/**
 * Whether encoded packets may bypass `Adapter.prototype.broadcast` and the encoder.
 *
 * @param {any} adapter
 */
function canFanOut({ encoder, nsp }) {
  return isStockBroadcast() && isStock(encoder, nsp.server);
}

module.exports = { canEncode, canFanOut, isStock, isStockBroadcast };

"use strict";
// Checks that a message from Redis has the shape that its type demands. socket.io-adapter does not
// check what it is given.

const { MessageType } = require("socket.io-adapter");

const { HAND_OVER, HANDED_OVER } = require("./hand-over");
const { OVERVIEW, OVERVIEW_RESPONSE, isOverview, isSubject } = require("./overview");

/** Packet type of the Socket.IO protocol. */
const EVENT = 2;

/** @param {any} value */
const isObject = (value) => typeof value === "object" && value !== null;

/** @param {any} opts */
const hasTargets = (opts) =>
  isObject(opts) && Array.isArray(opts.rooms) && Array.isArray(opts.except);

/** @param {any} data */
const isAnswer = (data) => typeof data.requestId === "string";

/** @param {any} data */
const isHandOver = (data) => isAnswer(data) && typeof data.pid === "string";

/** @type {Record<number, (data: any) => boolean>} */
const SHAPES = {
  [MessageType.BROADCAST]: ({ opts, packet }) =>
    hasTargets(opts) &&
    isObject(packet) &&
    Number.isInteger(packet.type) &&
    (packet.type !== EVENT || Array.isArray(packet.data)),
  [MessageType.SOCKETS_JOIN]: ({ opts, rooms }) => hasTargets(opts) && Array.isArray(rooms),
  [MessageType.SOCKETS_LEAVE]: ({ opts, rooms }) => hasTargets(opts) && Array.isArray(rooms),
  [MessageType.DISCONNECT_SOCKETS]: ({ opts }) => hasTargets(opts),
  [MessageType.FETCH_SOCKETS]: ({ opts, requestId }) =>
    hasTargets(opts) && typeof requestId === "string",
  [MessageType.FETCH_SOCKETS_RESPONSE]: (data) => isAnswer(data) && Array.isArray(data.sockets),
  [MessageType.SERVER_SIDE_EMIT]: ({ packet }) => Array.isArray(packet),
  [MessageType.SERVER_SIDE_EMIT_RESPONSE]: isAnswer,
  [MessageType.BROADCAST_CLIENT_COUNT]: (data) =>
    isAnswer(data) && Number.isInteger(data.clientCount),
  [MessageType.BROADCAST_ACK]: isAnswer,
  [OVERVIEW]: ({ opts, requestId, subject }) =>
    hasTargets(opts) && typeof requestId === "string" && isSubject(subject),
  [HAND_OVER]: (data) => isHandOver(data) && ["string", "undefined"].includes(typeof data.offset),
  [HANDED_OVER]: isHandOver,
  [OVERVIEW_RESPONSE]: (data) => isAnswer(data) && isOverview(data.overview),
};

/**
 * @param {any} message
 * @returns {boolean}
 */
function isWellFormed(message) {
  return (
    isObject(message) &&
    typeof message.uid === "string" &&
    typeof message.nsp === "string" &&
    isObject(message.data) &&
    SHAPES[message.type]?.(message.data) === true
  );
}

module.exports = { isWellFormed };

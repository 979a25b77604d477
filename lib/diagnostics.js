"use strict";
// Publishes what happens to a node on channels of `node:diagnostics_channel`, for code that watches
// a cluster from within the process. If a subscriber throws, Node.js calls the other subscribers and
// then reports the error as an `uncaughtException`.

const { channel } = require("node:diagnostics_channel");

/**
 * @typedef {import("../index").LossMessage} LossMessage
 * @typedef {import("../index").ReconnectMessage} ReconnectMessage
 * @typedef {import("../index").MemberJoinMessage} MemberJoinMessage
 * @typedef {import("../index").MemberLeaveMessage} MemberLeaveMessage
 * @typedef {import("../index").SlowClientMessage} SlowClientMessage
 * @typedef {import("../index").SessionExpiredMessage} SessionExpiredMessage
 */

const PREFIX = "socket.io-redis-streams";

const loss = channel(`${PREFIX}:loss`);
const reconnect = channel(`${PREFIX}:reconnect`);
const memberJoin = channel(`${PREFIX}:member-join`);
const memberLeave = channel(`${PREFIX}:member-leave`);
const slowClient = channel(`${PREFIX}:slow-client`);
const sessionExpired = channel(`${PREFIX}:session-expired`);

/**
 * Makes the message only if the channel has a subscriber.
 *
 * @template T
 * @param {import("node:diagnostics_channel").Channel} to
 * @returns {(make: () => T) => void}
 */
const publisher = (to) => (make) => {
  if (to.hasSubscribers) {
    to.publish(make());
  }
};

const publishLoss = /** @type {(make: () => LossMessage) => void} */ (publisher(loss));
const publishReconnect = /** @type {(make: () => ReconnectMessage) => void} */ (
  publisher(reconnect)
);
const publishJoin = /** @type {(make: () => MemberJoinMessage) => void} */ (publisher(memberJoin));
const publishLeave = /** @type {(make: () => MemberLeaveMessage) => void} */ (
  publisher(memberLeave)
);
const publishSlowClient = /** @type {(make: () => SlowClientMessage) => void} */ (
  publisher(slowClient)
);

const publishExpired = /** @type {(make: () => SessionExpiredMessage) => void} */ (
  publisher(sessionExpired)
);

/**
 * Publishes that other nodes joined or left.
 *
 * @param {Omit<MemberJoinMessage, "member">} where
 * @param {{ came: string[], left: string[], silent: string[] }} changes
 */
function publishChanges(where, { came, left, silent }) {
  came.forEach((member) => publishJoin(() => ({ ...where, member })));
  left.forEach((member) => publishLeave(() => ({ ...where, member, reason: "left" })));
  silent.forEach((member) => publishLeave(() => ({ ...where, member, reason: "silent" })));
}

module.exports = {
  publishLoss,
  publishReconnect,
  publishChanges,
  publishSlowClient,
  publishExpired,
};

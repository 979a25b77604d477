"use strict";
// What happens to a node, on channels of `node:diagnostics_channel`: for those who watch a cluster
// from within the process. A subscriber that throws is Node's to report: as an `uncaughtException`,
// after the others have been called.

const { channel } = require("node:diagnostics_channel");

/**
 * @typedef {import("../index").LossMessage} LossMessage
 * @typedef {import("../index").ReconnectMessage} ReconnectMessage
 * @typedef {import("../index").MemberJoinMessage} MemberJoinMessage
 * @typedef {import("../index").MemberLeaveMessage} MemberLeaveMessage
 */

const PREFIX = "socket.io-redis-streams";

const loss = channel(`${PREFIX}:loss`);
const reconnect = channel(`${PREFIX}:reconnect`);
const memberJoin = channel(`${PREFIX}:member-join`);
const memberLeave = channel(`${PREFIX}:member-leave`);

/**
 * The message is made only when somebody listens.
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

/**
 * Nodes have come and gone.
 *
 * @param {Omit<MemberJoinMessage, "member">} where
 * @param {{ came: string[], left: string[], silent: string[] }} changes
 */
function publishChanges(where, { came, left, silent }) {
  came.forEach((member) => publishJoin(() => ({ ...where, member })));
  left.forEach((member) => publishLeave(() => ({ ...where, member, reason: "left" })));
  silent.forEach((member) => publishLeave(() => ({ ...where, member, reason: "silent" })));
}

module.exports = { publishLoss, publishReconnect, publishChanges };

"use strict";
// Warns if this application keeps its streams apart from those of others on the same Redis, but not
// its PUB/SUB channels.

const { isDefault } = require("./options");

/** The settings that this process has warned of. */
const warnedOf = new Set();

/**
 * @param {import("./connection").ConnectionSettings} settings
 * @param {import("./options").Options} options
 * @param {object} context
 * @param {boolean} context.isPrefixSet whether the user has set `channelPrefix`, be it to its default
 * @param {(code: string, message: string) => void} context.warn called once per process for the same
 *   settings
 */
function warnOfSharedChannels(settings, options, { isPrefixSet, warn }) {
  if (isPrefixSet || options.requestsVia === "stream") {
    return;
  }
  const apart = whatSeparates(settings, options);
  if (apart === undefined || warnedOf.has(apart)) {
    return;
  }
  warnedOf.add(apart);
  warn(
    "SIO_REDIS_SHARED_CHANNELS",
    `createAdapter: ${apart} is set, but \`channelPrefix\` is not. It keeps broadcasts apart from ` +
      "other applications on this Redis, but not PUB/SUB: nodes of @socket.io/redis-streams-adapter " +
      "in other applications answer the requests of this one (fetchSockets(), serverSideEmit(), " +
      "broadcasts with acknowledgements), and the other way round. Set `channelPrefix` to a name of " +
      `this application on all of its nodes at once, or to "${options.channelPrefix}" if no other ` +
      "one uses this Redis",
  );
}

/**
 * @param {import("./connection").ConnectionSettings} settings
 * @param {import("./options").Options} options
 * @returns {string | undefined} what separates the streams of this application, but not its channels
 */
function whatSeparates({ database, keyPrefix, prefixShardedChannels }, options) {
  if (database) {
    return `the database ${database}`;
  }
  const isInChannels = options.useShardedPubSub && prefixShardedChannels;
  if (keyPrefix && !isInChannels) {
    return `the key prefix "${keyPrefix}"`;
  }
  const { streamName } = options;
  return isDefault("streamName", streamName) ? undefined : `\`streamName\` "${streamName}"`;
}

module.exports = { warnOfSharedChannels };

"use strict";
// The adapter's options: their names, defaults and ranges, and the checks of the user's values.

const { inspect } = require("node:util");

/**
 * The names and defaults up to `heartbeatTimeout`, except `maxAge`, are those of
 * @socket.io/redis-streams-adapter.
 *
 * @typedef {object} Options
 * @property {string} streamName
 * @property {number} streamCount
 * @property {string} channelPrefix
 * @property {boolean} useShardedPubSub
 * @property {number} maxLen the default is higher while entries are kept by age: see retention.js
 * @property {number} maxAge ms; 0: entries are kept however old they are
 * @property {number} readCount
 * @property {number} blockTimeInMs ms; 0: XREAD waits without limit
 * @property {string} sessionKeyPrefix
 * @property {boolean} onlyPlaintext
 * @property {number} heartbeatInterval ms
 * @property {number} heartbeatTimeout ms; the default is higher with a long `heartbeatInterval`
 * @property {number} publishQueueBytes limit of what waits to be published, bytes
 * @property {number} inboxBytes limit of what was read and waits for the JS thread, bytes
 * @property {boolean} expiredSessions whether it is told when the client of a session does not come back
 * @property {boolean} liveSessions whether sessions of connected clients are kept in Redis
 * @property {number} historyBytes limit of the history for connection state recovery, bytes
 * @property {number} clientBufferBytes limit of what waits for one client, bytes; 0: no limit
 * @property {"master" | "replica" | "nearest"} readFrom which servers the stream is read from
 * @property {"pubsub" | "stream"} requestsVia how requests, answers and heartbeats travel
 */

/**
 * @typedef {object} Flag
 * @property {"boolean"} type
 * @property {boolean} default
 */
/**
 * @typedef {object} Text never empty
 * @property {"string"} type
 * @property {string} default
 */
/**
 * @typedef {object} Integer
 * @property {"integer"} type
 * @property {number} default
 * @property {number} min
 * @property {number} max
 */

/**
 * @typedef {object} Choice
 * @property {"choice"} type
 * @property {string} default
 * @property {string[]} among
 */

/** The largest signed 32-bit integer; also the longest time that a timer can wait, in ms. */
const MAX_INT32 = 2 ** 31 - 1;
const MAX_SAFE = Number.MAX_SAFE_INTEGER;
const MIB = 2 ** 20;

/**
 * @param {string} value
 * @returns {Text}
 */
const text = (value) => ({ type: "string", default: value });
/**
 * @param {boolean} value
 * @returns {Flag}
 */
const flag = (value) => ({ type: "boolean", default: value });
/**
 * @param {number} value
 * @param {number} min
 * @param {number} max
 * @returns {Integer}
 */
const integer = (value, min, max) => ({ type: "integer", default: value, min, max });

/**
 * The first one is the default.
 *
 * @param {string[]} among
 * @returns {Choice}
 */
const choice = (...among) => ({ type: "choice", default: among[0], among });

/** @type {Record<keyof Options, Flag | Text | Integer | Choice>} */
const TABLE = {
  streamName: text("socket.io"),
  // Each stream takes a connection. By default a Redis accepts 10,000 connections.
  streamCount: integer(1, 1, 10_000),
  channelPrefix: text("socket.io"),
  useShardedPubSub: flag(false),
  maxLen: integer(10_000, 1, MAX_SAFE),
  maxAge: integer(0, 0, MAX_SAFE),
  readCount: integer(100, 1, MAX_INT32),
  // 0 is XREAD's BLOCK 0. Upstream passes it on as well.
  blockTimeInMs: integer(5_000, 0, MAX_INT32),
  // Not empty: the client that asks for its session chooses the rest of the key. Without a prefix, it
  // could have any key of the database read and deleted.
  sessionKeyPrefix: text("sio:session:"),
  onlyPlaintext: flag(false),
  heartbeatInterval: integer(5_000, 1, MAX_INT32),
  heartbeatTimeout: integer(10_000, 1, MAX_INT32),
  publishQueueBytes: integer(64 * MIB, 1, MAX_SAFE),
  inboxBytes: integer(64 * MIB, 1, MAX_SAFE),
  // 0: the engine keeps no history, and reads from Redis what a client missed.
  historyBytes: integer(64 * MIB, 0, MAX_SAFE),
  // 0: no limit, as in upstream. engine.io ends a client that reads nothing at its ping timeout.
  clientBufferBytes: integer(0, 0, MAX_SAFE),
  readFrom: choice("master", "replica", "nearest"),
  requestsVia: choice("pubsub", "stream"),
  liveSessions: flag(true),
  expiredSessions: flag(false),
};

/** The unknown names, and what else, that this process has warned of. */
const warnedOf = new Set();
const IGNORED = '`useShardedPubSub` has no effect with `requestsVia: "stream"`';

/**
 * @param {unknown} given what the user passed as options
 * @param {object} callbacks
 * @param {(code: string, message: string) => void} callbacks.warn called for an unknown option,
 *   once per name and process
 * @param {string} [callbacks.caller] messages begin with it
 * @param {Partial<Options>} [callbacks.ofClient] what the Redis client's settings give for options
 *   that are missing
 * @returns {Options}
 * @throws {TypeError | RangeError} with the code ERR_SIO_REDIS_OPTION
 */
function resolveOptions(given, { warn, caller = "createAdapter", ofClient = {} }) {
  if (given === undefined || given === null) {
    given = {};
  }
  if (typeof given !== "object" || Array.isArray(given)) {
    throw coded(new TypeError(`${caller}: the options must be an object, not ${show(given)}`));
  }
  const options = /** @type {Record<string, unknown>} */ (given);
  warnOfUnknown(Object.keys(options), warn, caller);

  const resolved = /** @type {Options} */ (
    Object.fromEntries(
      Object.entries(TABLE).map(([name, rule]) => {
        const value = options[name];
        const missing = ofClient[/** @type {keyof Options} */ (name)] ?? rule.default;
        return [name, value === undefined ? missing : checked(name, rule, value, caller)];
      }),
    )
  );
  warnOfIgnored(resolved, warn, caller);
  if (options.heartbeatTimeout === undefined) {
    const twice = Math.min(2 * resolved.heartbeatInterval, MAX_INT32);
    resolved.heartbeatTimeout = Math.max(resolved.heartbeatTimeout, twice);
  }
  const { heartbeatInterval, heartbeatTimeout } = resolved;
  if (heartbeatTimeout <= heartbeatInterval) {
    throw coded(
      new RangeError(
        `${caller}: \`heartbeatTimeout\` (${heartbeatTimeout}) must be greater than ` +
          `\`heartbeatInterval\` (${heartbeatInterval}), or every node looks dead between two heartbeats`,
      ),
    );
  }
  return resolved;
}

/**
 * @param {string} name
 * @param {Flag | Text | Integer | Choice} rule
 * @param {unknown} value
 * @param {string} caller
 */
function checked(name, rule, value, caller) {
  const message = `${caller}: \`${name}\` must be ${allowed(rule)}, not ${show(value)}`;
  if (typeof value !== typeof rule.default) {
    throw coded(new TypeError(message));
  }
  if (rule.type === "choice" && !rule.among.includes(/** @type {string} */ (value))) {
    throw coded(new RangeError(message));
  }
  if (rule.type === "string" && value === "") {
    throw coded(new RangeError(message));
  }
  if (rule.type === "integer") {
    const number = /** @type {number} */ (value);
    if (!Number.isInteger(number) || number < rule.min || number > rule.max) {
      throw coded(new RangeError(message));
    }
  }
  return value;
}

/** @param {Flag | Text | Integer | Choice} rule */
function allowed(rule) {
  switch (rule.type) {
    case "boolean":
      return "true or false";
    case "string":
      return "a string that is not empty";
    case "choice":
      return rule.among.map(show).join(" or ");
    default:
      return `an integer from ${rule.min} to ${rule.max}`;
  }
}

/**
 * @template {Error} E
 * @param {E} error
 */
function coded(error) {
  return Object.assign(error, { code: "ERR_SIO_REDIS_OPTION" });
}

/** @param {unknown} value */
function show(value) {
  return inspect(value, { depth: 0, maxStringLength: 100, breakLength: Infinity });
}

/**
 * @param {string[]} names
 * @param {(code: string, message: string) => void} warn
 * @param {string} caller
 */
function warnOfUnknown(names, warn, caller) {
  for (const name of names) {
    if (Object.hasOwn(TABLE, name) || warnedOf.has(name)) {
      continue;
    }
    warnedOf.add(name);
    const similar = closest(name, Object.keys(TABLE));
    warn(
      "SIO_REDIS_UNKNOWN_OPTION",
      `${caller}: \`${name}\` is no option and has no effect` +
        (similar === undefined ? "" : `; did you mean \`${similar}\`?`),
    );
  }
}

/**
 * @param {Options} options
 * @param {(code: string, message: string) => void} warn
 * @param {string} caller
 */
function warnOfIgnored({ useShardedPubSub, requestsVia }, warn, caller) {
  if (useShardedPubSub && requestsVia === "stream" && !warnedOf.has(IGNORED)) {
    warnedOf.add(IGNORED);
    warn(
      "SIO_REDIS_OPTION_IGNORED",
      `${caller}: ${IGNORED}: then nothing travels over PUB/SUB. Leave out one of them`,
    );
  }
}

/**
 * @param {string} name
 * @param {string[]} candidates
 * @returns {string | undefined} the name that the user probably meant, if there is one
 */
function closest(name, candidates) {
  const wanted = name.toLowerCase();
  const [best] = candidates
    .map((candidate) => ({ candidate, edits: editDistance(wanted, candidate.toLowerCase()) }))
    .sort((a, b) => a.edits - b.edits);
  const lowerCase = best.candidate.toLowerCase();
  const isLonger = wanted.startsWith(lowerCase); // "maxLength"
  const isMistyped = best.edits <= best.candidate.length / 3; // "blockTime", but not "host"
  return isLonger || isMistyped ? best.candidate : undefined;
}

/**
 * The Levenshtein distance.
 *
 * @param {string} a
 * @param {string} b
 */
function editDistance(a, b) {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replaced = previous[column - 1] + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, previous[column] + 1, current[column - 1] + 1));
    }
    previous = current;
  }
  return previous[b.length];
}

/**
 * @template {keyof Options} Name
 * @param {Name} name
 * @param {Options[Name]} value
 */
const isDefault = (name, value) => value === TABLE[name].default;

module.exports = { resolveOptions, isDefault };

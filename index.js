"use strict";
// The package's API: `createAdapter`, with the name and options of
// @socket.io/redis-streams-adapter, and `Emitter`, with the name and methods of
// @socket.io/redis-streams-emitter.

// First, because it refuses versions of Socket.IO that the other files cannot be loaded with.
const { requireSupported } = require("./lib/socket-io");

const { RedisStreamsAdapter } = require("./lib/adapter");
const { connectionSettings, refuseSecondClient } = require("./lib/connection");
const { Emitter } = require("./lib/emitter");
const { Engine } = require("./lib/engine");
const { resolveOptions } = require("./lib/options");
const { warnOfSharedChannels } = require("./lib/shared-channels");
const { warn } = require("./lib/warnings");

/**
 * @param {any} redisClient a client of `redis`, `ioredis` or `iovalkey`, a URL, or settings
 * @param {import("./index").RedisStreamsAdapterOptions & Record<string, any>} [opts]
 * @returns {any} for the option `adapter` of a Socket.IO server, which calls it with `new`
 */
function createAdapter(redisClient, opts) {
  refuseSecondClient(opts, "createAdapter");
  const settings = connectionSettings(redisClient, { warn });
  const options = resolveOptions(opts, { warn, ofClient: { readFrom: settings.readFrom } });
  const isPrefixSet = opts?.channelPrefix !== undefined;
  warnOfSharedChannels(settings, options, { isPrefixSet, warn });
  /** The engine of each Socket.IO server. It starts with the first namespace, and a new one starts with
   * the first namespace after its end. @type {WeakMap<object, Engine>} */
  const engines = new WeakMap();

  return function adapterOf(/** @type {any} */ nsp) {
    requireSupported(nsp);
    let engine = engines.get(nsp.server);
    if (engine === undefined || engine.closed) {
      engine = new Engine(settings, options, { server: nsp.server, given: opts });
      engines.set(nsp.server, engine);
    }
    return new RedisStreamsAdapter(nsp, engine, options);
  };
}

exports.createAdapter = createAdapter;
exports.Emitter = Emitter;

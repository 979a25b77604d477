// The kinds of Redis that a chaos run can have.

"use strict";

const { Cluster } = require("./cluster");
const { Sentinel } = require("./sentinel");
const { Single } = require("./single");

const KINDS = { single: Single, sentinel: Sentinel, cluster: Cluster };

/** @typedef {keyof typeof KINDS} RedisKind */

/** @param {RedisKind} kind */
function startServers(kind) {
  return new KINDS[kind]().start();
}

module.exports = { REDIS_KINDS: /** @type {RedisKind[]} */ (Object.keys(KINDS)), startServers };

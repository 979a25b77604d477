"use strict";
// The timers and the clock as they were when this file was loaded. Users' tests replace the global timers by fake
// ones (Jest, Vitest, sinon), and the adapter must keep delivering meanwhile.

const { performance } = require("node:perf_hooks");
const timers = require("node:timers");

const { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate } = timers;
const now = performance.now.bind(performance);
const nextTick = process.nextTick.bind(process);
const queueMicrotask = globalThis.queueMicrotask;

module.exports = {
  setTimeout,
  clearTimeout,
  setInterval,
  clearInterval,
  setImmediate,
  nextTick,
  queueMicrotask,
  now,
};

"use strict";
// Timers as they were when this was loaded: suites of users replace the global ones by fake timers
// (Jest, Vitest, sinon), and delivery must go on meanwhile.

const timers = require("node:timers");

const { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate } = timers;
const nextTick = process.nextTick.bind(process);

module.exports = {
  setTimeout,
  clearTimeout,
  setInterval,
  clearInterval,
  setImmediate,
  nextTick,
};

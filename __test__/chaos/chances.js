// What is drawn by lot, from numbers that a seed decides.

"use strict";

/** @param {() => number} chance @param {number} low @param {number} high */
function between(chance, low, high) {
  return Math.floor(low + chance() * (high - low));
}

/** @template T @param {() => number} chance @param {T[]} list */
function oneOf(chance, list) {
  return list[Math.floor(chance() * list.length)];
}

/** @template T @param {() => number} chance @param {T[]} list */
function shuffled(chance, list) {
  const rest = [...list];
  return list.map(() => rest.splice(Math.floor(chance() * rest.length), 1)[0]);
}

module.exports = { between, oneOf, shuffled };

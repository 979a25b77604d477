"use strict";

/**
 * If the number of values is even, the upper one of the two in the middle.
 *
 * @param {number[]} values
 */
const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

module.exports = { median };

"use strict";

/**
 * The upper one of the two in the middle of an even number.
 *
 * @param {number[]} values
 */
const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

module.exports = { median };

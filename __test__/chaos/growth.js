// Whether what a process has grows: by how much over all samples, after the line that fits them best,
// since single samples are noisy.

"use strict";

/**
 * @typedef {import("./agent-extension").Usage} Usage
 *
 * @typedef {object} Growth
 * @property {number} node
 * @property {keyof Usage} what
 * @property {number} by from the first sample to the last
 * @property {number} bound
 */

/**
 * How much each may grow over a soak of any length: what one forgets to let go grows with the load.
 * RSS swings by some 15 MB as V8 gives memory back and takes it again.
 */
const BOUNDS = Object.freeze({ rss: 25e6, heap: 0.8e6, external: 1e6, fds: 3, threads: 2 });

/**
 * The rise of the line through the values that fits them best.
 *
 * @param {number[]} values at equal distances
 */
function rise(values) {
  const middle = (values.length - 1) / 2;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  let [above, below] = [0, 0];
  values.forEach((value, i) => {
    above += (i - middle) * (value - mean);
    below += (i - middle) ** 2;
  });
  return (above / below) * (values.length - 1);
}

/**
 * @param {Usage[]} samples of one node, in order
 * @param {number} node
 * @returns {Growth[]}
 */
function growthOf(samples, node) {
  return /** @type {(keyof Usage)[]} */ (Object.keys(BOUNDS)).map((what) => ({
    node,
    what,
    by: rise(samples.map((sample) => sample[what])),
    bound: BOUNDS[what],
  }));
}

module.exports = { growthOf, rise };

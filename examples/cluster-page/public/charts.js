// Which charts there are.

import { Chart } from "./chart.js";
import { count, milliseconds, perSecond } from "./format.js";

const DASHES = /** @type {const} */ (["solid", "dashed", "dotted"]);

/**
 * @param {Element} parent
 * @param {string[]} nodes
 * @param {import("./history.js").History} history
 */
export function makeCharts(parent, nodes, history) {
  /** @param {string} what */
  const ofEachNode = (what) =>
    nodes.map((node, i) => ({
      key: `${what} ${node}`,
      label: node,
      colour: `node-${(i % DASHES.length) + 1}`,
      dash: DASHES[i % DASHES.length],
    }));
  /** @type {import("./chart.js").ChartSettings[]} */
  const settings = [
    {
      title: "Received by this tab, by node",
      about: "Packets per second that this tab receives from each node",
      lines: ofEachNode("received"),
      format: perSecond,
      least: 20,
    },
    {
      title: "Latency, from emit to this tab",
      about: "Delivery latency at this tab, median and 99th percentile of each second",
      lines: [
        { key: "p50", label: "median", colour: "median", dash: "solid" },
        { key: "p99", label: "99 %", colour: "tail", dash: "dashed" },
      ],
      format: milliseconds,
      least: 20,
    },
    {
      title: "Stream entries read",
      about: "Entries per second that each node reads from the stream",
      lines: ofEachNode("read"),
      format: perSecond,
      least: 50,
    },
    {
      title: "Behind the stream's end",
      about: "Lag of each node behind the end of the stream",
      lines: ofEachNode("lag"),
      format: milliseconds,
      least: 20,
    },
    {
      title: "Event loop delay, longest",
      about: "Longest event loop delay of each second, of each node",
      lines: ofEachNode("loop"),
      format: milliseconds,
      least: 50,
    },
    {
      title: "Stream length",
      about: "Number of entries in the stream",
      lines: [{ key: "stream length", label: "entries", colour: "median", dash: "solid" }],
      format: count,
      least: 1_000,
      isLinear: true,
    },
  ];
  return settings.map((each) => new Chart(parent, each, history));
}

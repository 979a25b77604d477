"use strict";
// Draws a bar chart as SVG with echarts, which needs no browser for it.

const echarts = require("echarts");

const WIDTH = 900;
/** Space for the names of the scenarios; below, for the numbers after the bars. */
const LEFT = 320;
const RIGHT = 90;
const COLOURS = ["#b8c4d0", "#8496a9", "#d9480f"];

/**
 * @typedef {object} Bars of one scenario
 * @property {string} name
 * @property {number[]} lengths relative to each other
 * @property {string[]} labels
 */

/**
 * Draws one group of bars per scenario. Each group has its own scale. Otherwise small numbers could not
 * be seen beside large ones.
 *
 * @param {string} title
 * @param {string[]} names of the bars in each group
 * @param {Bars[]} groups
 * @returns {string} SVG
 */
function chartOf(title, names, groups) {
  const height = 110 + groups.length * 54;
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height });
  chart.setOption({
    animation: false,
    backgroundColor: "#ffffff",
    color: COLOURS,
    title: { text: title, left: 16, top: 10, textStyle: { fontSize: 15 } },
    legend: { top: 40, left: LEFT, itemGap: 50 },
    grid: { left: LEFT, right: RIGHT, top: 76, bottom: 16 },
    xAxis: { type: "value", show: false },
    yAxis: {
      type: "category",
      inverse: true,
      axisTick: { show: false },
      data: groups.map(({ name }) => name),
    },
    series: names.map((name, i) => ({
      name,
      type: "bar",
      data: groups.map(({ lengths }) => lengths[i] / Math.max(...lengths)),
      label: {
        show: true,
        position: "right",
        formatter: (/** @type {any} */ { dataIndex }) => groups[dataIndex].labels[i],
      },
    })),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return `${svg}\n`;
}

module.exports = { chartOf };

"use strict";
// A bar chart as SVG, drawn by echarts, which needs no browser for it.

const echarts = require("echarts");

const WIDTH = 900;
const COLOURS = ["#b8c4d0", "#8496a9", "#d9480f"];
const NAMES = { native: "ours" };

/**
 * One group of bars per row, one bar per kind of adapter, on a logarithmic scale.
 *
 * @param {string} title
 * @param {import("./report").Row[]} rows
 * @param {string[]} kinds
 * @returns {string} SVG
 */
function chartOf(title, rows, kinds) {
  const height = 120 + rows.length * 54;
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height });
  chart.setOption({
    animation: false,
    backgroundColor: "#ffffff",
    color: COLOURS,
    title: { text: title, left: 16, top: 10, textStyle: { fontSize: 15 } },
    legend: { top: 36, left: 16 },
    grid: { left: 16, right: 70, top: 70, bottom: 16, containLabel: true },
    xAxis: { type: "log" },
    yAxis: { type: "category", inverse: true, data: rows.map(({ scenario }) => scenario) },
    series: kinds.map((kind) => ({
      name: NAMES[/** @type {keyof typeof NAMES} */ (kind)] ?? kind,
      type: "bar",
      data: rows.map(({ values }) => Number(values[kind].toPrecision(3))),
      label: { show: true, position: "right", fontSize: 10 },
    })),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return `${svg}\n`;
}

module.exports = { chartOf };

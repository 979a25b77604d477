// One live chart: uPlot with the page's colours, a legend with the values, and the marks.

import uPlot from "/vendor/uplot.js";

import { element, say } from "./dom.js";
import { WINDOW } from "./history.js";
import { colour } from "./theme.js";

const HEIGHT = 160;
const FONT = "12px system-ui, sans-serif";
/**
 * Side by side, since the three often come within a second.
 *
 * @type {Record<string, [sign: string, shift: number]>}
 */
const SIGNS = { hurt: ["▼", 0], lost: ["✕", -9], back: ["↻", 9] };
/** Colour is never the only sign: each line of a chart has dashes of its own too. */
const DASHES = { solid: undefined, dashed: [8, 4], dotted: [2, 3] };

/**
 * @typedef {object} Line
 * @property {string} key of its column
 * @property {string} label
 * @property {string} colour a custom property of the style sheet
 * @property {"solid" | "dashed" | "dotted"} dash
 *
 * @typedef {object} ChartSettings
 * @property {string} title
 * @property {string} about what it shows, for those who do not see it
 * @property {Line[]} lines
 * @property {(value: number | null | undefined) => string} format
 * @property {number} least the axis goes up to at least that
 * @property {boolean} [isLinear]
 */

/**
 * Draws the marks behind the lines.
 *
 * @param {uPlot} plot
 * @param {import("./history.js").Mark[]} marks
 */
function drawMarks(plot, marks) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  ctx.textAlign = "center";
  ctx.lineWidth = ratio;
  for (const { time, kind } of marks) {
    const [sign, shift] = SIGNS[kind];
    const x = Math.round(plot.valToPos(time, "x", true));
    if (x >= bbox.left && x <= bbox.left + bbox.width) {
      ctx.strokeStyle = ctx.fillStyle = colour(`mark-${kind}`);
      ctx.setLineDash([3 * ratio, 3 * ratio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.fillText(sign, x + shift * ratio, bbox.top - 3 * ratio);
    }
  }
  ctx.restore();
}

/**
 * @param {number} max
 * @returns {number[]} 0, 10, 100, ...
 */
function powersUpTo(max) {
  const powers = [0];
  for (let power = 10; power <= max; power *= 10) {
    powers.push(power);
  }
  return powers;
}

export class Chart {
  #history;
  #settings;
  /** @type {HTMLElement[]} the value of each line, in the legend */
  #values;
  #plot;

  /**
   * @param {Element} parent
   * @param {ChartSettings} settings
   * @param {import("./history.js").History} history
   */
  constructor(parent, settings, history) {
    this.#history = history;
    this.#settings = settings;
    this.#values = settings.lines.map(() => element("span", "value", "–"));
    const legend = settings.lines.map(({ label, dash, colour: name }, i) => {
      const swatch = element("span", `swatch ${dash} colour-${name}`);
      return element("li", "", swatch, `${label} `, this.#values[i]);
    });
    const canvas = element("div", "plot");
    canvas.role = "img";
    canvas.ariaLabel = settings.about;
    const title = element("figcaption", "", settings.title);
    const figure = element("figure", "chart", title, element("ul", "legend", ...legend), canvas);
    parent.append(figure);
    this.#plot = new uPlot(this.#options(canvas.clientWidth), this.#data(), canvas);
    new ResizeObserver(() => {
      this.#plot.setSize({ width: canvas.clientWidth, height: HEIGHT });
    }).observe(canvas);
  }

  /**
   * @param {number} width
   * @returns {uPlot.Options}
   */
  #options(width) {
    const { lines, format, least, isLinear } = this.#settings;
    /** @param {number | null} max */
    const upTo = (max) => Math.max(least, (max ?? 0) * 1.2);
    /** @type {uPlot.Axis} */
    const axis = {
      stroke: () => colour("quiet"),
      font: FONT,
      grid: { stroke: () => colour("grid"), width: 1 },
      ticks: { show: false },
    };
    return {
      width,
      height: HEIGHT,
      padding: [14, 26, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 5 } },
      scales: {
        x: { time: true, range: () => this.#range() },
        // Like a logarithm, but with a zero: 30 and 5,000 packets are both to be seen.
        y: { distr: isLinear ? 1 : 4, asinh: 5, range: (_, __, max) => [0, upTo(max)] },
      },
      axes: [
        { ...axis, space: 70, size: 28, values: "{HH}:{mm}:{ss}" },
        {
          ...axis,
          size: 58,
          space: 24,
          values: (_, ticks) => ticks.map(format),
          ...(!isLinear && {
            splits: (_, __, ___, max) => powersUpTo(max),
            filter: (_, all) => all,
          }),
        },
      ],
      series: [
        {},
        ...lines.map(({ label, colour: name, dash }) => ({
          label,
          stroke: () => colour(name),
          width: 2,
          dash: DASHES[dash],
          points: { show: false },
        })),
      ],
      hooks: {
        drawAxes: [(plot) => drawMarks(plot, this.#history.marks)],
        setCursor: [() => this.#showValues()],
      },
    };
  }

  /** @returns {[number, number]} */
  #range() {
    const end = this.#history.times.at(-1) ?? Date.now() / 1_000;
    return [end - WINDOW, end];
  }

  /** @returns {any} columns, the times first */
  #data() {
    const { times } = this.#history;
    return [times, ...this.#settings.lines.map(({ key }) => this.#history.column(key))];
  }

  /** Of the moment under the pointer, else the latest. */
  #showValues() {
    const row = this.#plot?.cursor.idx ?? this.#history.times.length - 1;
    this.#settings.lines.forEach(({ key }, i) => {
      say(this.#values[i], this.#settings.format(this.#history.column(key)[row]));
    });
  }

  draw() {
    this.#plot.setData(this.#data());
    this.#showValues();
  }
}

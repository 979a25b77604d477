// What the charts show: one row per second, in columns as uPlot wants them, and marks at moments.

/** How far back the charts go (s). */
export const WINDOW = 120;

/** @typedef {{ time: number, kind: "hurt" | "lost" | "back" }} Mark with its time in s */

export class History {
  /** @type {number[]} in s */
  times = [];
  /** @type {Mark[]} */
  marks = [];
  /** @type {Map<string, (number | null)[]>} */
  #columns = new Map();

  /**
   * @param {string} key
   * @returns {(number | null)[]}
   */
  column(key) {
    return this.#columns.get(key) ?? this.times.map(() => null);
  }

  /**
   * @param {number} time in s
   * @param {Record<string, number | null | undefined>} values
   */
  push(time, values) {
    for (const key of Object.keys(values)) {
      this.#columns.set(key, this.column(key));
    }
    this.times.push(time);
    this.#columns.forEach((column, key) => column.push(values[key] ?? null));
    while (this.times[0] < time - WINDOW - 2) {
      this.times.shift();
      this.#columns.forEach((column) => column.shift());
    }
    this.marks = this.marks.filter((mark) => mark.time > time - WINDOW);
  }

  /**
   * @param {Mark["kind"]} kind
   * @param {number} time in s
   */
  mark(kind, time) {
    this.marks.push({ time, kind });
  }
}

// Numbers with their units; "–" where there is none.

const NONE = "–";

/** @typedef {number | null | undefined} Value */

/** @param {Value} value */
const isNone = (value) => value === null || value === undefined || Number.isNaN(value);

/**
 * @param {Value} value
 * @param {(value: number) => string} format
 */
const unlessNone = (value, format) => (isNone(value) ? NONE : format(Number(value)));

/** @param {Value} value */
export const count = (value) =>
  unlessNone(value, (number) => Math.round(number).toLocaleString("en"));

/** @param {Value} value */
export const perSecond = (value) => unlessNone(value, (number) => `${count(number)}/s`);

/** @param {Value} value */
export const milliseconds = (value) =>
  unlessNone(value, (number) => {
    if (number >= 1_000) {
      return `${Number((number / 1_000).toFixed(1))} s`;
    }
    return `${number < 10 ? Number(number.toFixed(1)) : Math.round(number)} ms`;
  });

/** @param {Value} value */
export const percent = (value) => unlessNone(value, (number) => `${Math.round(number)} %`);

/** @param {Value} value */
export const megabytes = (value) => unlessNone(value, (number) => `${Math.round(number / 1e6)} MB`);

/** @param {number} time */
export const clock = (time) => new Date(time).toLocaleTimeString("en-GB");

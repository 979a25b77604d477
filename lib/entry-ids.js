"use strict";
// Compares the IDs of stream entries, `<ms>-<number>`.

/** Before every entry. */
const START = "0-0";
/** Behind every entry. */
const END = "18446744073709551615-18446744073709551615";

/** @param {string} text */
const isEntryId = (text) => /^\d+-\d+$/.test(text);

/**
 * @param {string} id
 * @param {string} other
 */
function isAfter(id, other) {
  if (id === other) {
    return false;
  }
  const [ms, seq] = id.split("-").map(Number);
  const [otherMs, otherSeq] = other.split("-").map(Number);
  return ms > otherMs || (ms === otherMs && seq > otherSeq);
}

/**
 * @param {string} id
 * @param {string} [other]
 */
function later(id, other) {
  return other !== undefined && isAfter(other, id) ? other : id;
}

module.exports = { END, START, isAfter, isEntryId, later };

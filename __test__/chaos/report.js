// What came of a chaos run, for people.

"use strict";

const { writeFileSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");

/** Each line once, with how often it is there. @param {string[]} lines */
function counted(lines) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  lines.forEach((line) => counts.set(line, (counts.get(line) ?? 0) + 1));
  return [...counts].map(([line, count]) => `${count} × ${line}`);
}

/**
 * A report for people.
 *
 * @param {import("./scenario").Report} report
 * @returns {string[]} lines
 */
function describeReport({ tally, publishing, recoveries, fresh, ...report }) {
  const list = (/** @type {Record<string, number>} */ counts) =>
    Object.entries(counts)
      .map(([what, count]) => `${count} × ${what}`)
      .join(", ") || "none";
  return [
    `${publishing.published} packets in the stream, ${tally.received} received`,
    `clients: ${tally.lost} lost, ${tally.doubled} doubled, ${tally.disordered} out of order, ${tally.unknown} unknown`,
    `stream: ${publishing.missing} missing, ${publishing.doubled} doubled, ${publishing.disordered} out of order`,
    `${recoveries} recoveries, fresh starts: ${list(fresh)}`,
    `happened: ${list(report.events)}`,
    `nodes: ${list(report.counters)}`,
    ...tally.samples,
    ...tally.journeys,
    ...publishing.samples,
    ...report.unjustified.map((what) => `not recovered without need: ${what}`),
    ...counted(report.faults),
  ];
}

/**
 * Keeps the schedule of a run that failed.
 *
 * @param {import("./schedule").Schedule} schedule
 * @returns {string} where it is
 */
function keepSchedule(schedule) {
  const file = join(tmpdir(), `chaos-${schedule.seed}.json`);
  writeFileSync(file, JSON.stringify(schedule));
  return file;
}

module.exports = { describeReport, keepSchedule };

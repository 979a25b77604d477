// Reads the text that Prometheus scrapes, and holds it to the rules of the format and of names:
// https://prometheus.io/docs/instrumenting/exposition_formats, …/practices/naming.

"use strict";

const assert = require("node:assert/strict");

/**
 * @typedef {object} Family
 * @property {string} type
 * @property {string} help
 * @property {Sample[]} samples
 *
 * @typedef {{ name: string, labels: Record<string, string>, value: number }} Sample
 */

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/gy;
const SUFFIXES = ["_bucket", "_sum", "_count"];

/** @param {string} text @returns {Map<string, Family>} */
function parse(text) {
  /** @type {Map<string, Family>} */
  const families = new Map();
  assert.ok(text.endsWith("\n"));
  for (const line of text.split("\n").filter(Boolean)) {
    const [, about, subject, rest] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (about === "HELP") {
      assert.ok(!families.has(subject), `${subject} comes once`);
      families.set(subject, { type: "", help: rest, samples: [] });
    } else if (about === "TYPE") {
      const family = /** @type {Family} */ (families.get(subject));
      assert.deepEqual([family.type, family.samples], ["", []], `TYPE before samples: ${line}`);
      family.type = rest;
    } else {
      const sample = sampleOf(line);
      familyOf(families, sample.name).samples.push(sample);
    }
  }
  families.forEach(check);
  return families;
}

/** @param {string} line @returns {Sample} */
function sampleOf(line) {
  const [, name, list = "", value] = SAMPLE.exec(line) ?? assert.fail(`no sample: ${line}`);
  const labels = [...list.matchAll(LABEL)];
  assert.equal(labels.map(([all]) => all).join(""), list, `labels of ${line}`);
  const number = Number(value);
  assert.ok(Number.isFinite(number), line);
  return {
    name,
    labels: Object.fromEntries(labels.map(([, label, text]) => [label, text])),
    value: number,
  };
}

/** @param {Map<string, Family>} families @param {string} name */
function familyOf(families, name) {
  const suffix = SUFFIXES.find((suffix) => name.endsWith(suffix)) ?? "";
  const ofHistogram = families.get(name.slice(0, name.length - suffix.length));
  const family = ofHistogram?.type === "histogram" ? ofHistogram : families.get(name);
  return family ?? assert.fail(`${name} has no TYPE`);
}

/** @param {Family} family @param {string} name */
function check({ type, help, samples }, name) {
  assert.match(name, /^[a-z][a-z0-9_]*$/);
  assert.doesNotMatch(name, /_(ms|milliseconds|kb|mb|minutes|count|sum|bucket)(_|$)/, "base units");
  assert.match(help, /^[A-Z0-9].*\.$/, `HELP of ${name} is a sentence`);
  assert.equal(type === "counter", name.endsWith("_total"), `${name} is a ${type}`);
  const all = samples.map(({ name, labels }) =>
    JSON.stringify([name, Object.entries(labels).sort()]),
  );
  assert.equal(new Set(all).size, all.length, `each series of ${name} once`);
  if (type === "histogram") {
    assert.ok(name.endsWith("_seconds"));
    checkHistogram(samples, name);
  } else {
    assert.ok(["counter", "gauge"].includes(type), `${name} is a ${type}`);
    samples.forEach(({ value }) => assert.ok(value >= 0, name));
  }
}

/** @param {Sample[]} samples @param {string} name */
function checkHistogram(samples, name) {
  /** @type {Map<string, Sample[]>} */
  const series = new Map();
  for (const sample of samples) {
    const { le, ...rest } = sample.labels;
    assert.equal(le !== undefined, sample.name === `${name}_bucket`);
    const key = JSON.stringify(Object.entries(rest).sort());
    series.set(key, [...(series.get(key) ?? []), sample]);
  }
  for (const one of series.values()) {
    const buckets = one.filter((sample) => sample.name === `${name}_bucket`);
    const bounds = buckets.map(({ labels }) => Number(labels.le.replace("+Inf", "Infinity")));
    const counts = buckets.map(({ value }) => value);
    assert.deepEqual(
      bounds,
      [...bounds].sort((a, b) => a - b),
      `bounds of ${name} rise`,
    );
    assert.deepEqual(
      counts,
      [...counts].sort((a, b) => a - b),
      `counts of ${name} are cumulative`,
    );
    assert.equal(bounds.at(-1), Infinity);
    assert.equal(counts.at(-1), one.find((sample) => sample.name === `${name}_count`)?.value);
    assert.equal(one.filter((sample) => sample.name === `${name}_sum`).length, 1);
  }
}

/**
 * The value of a series.
 *
 * @param {string} text
 * @param {string} name
 * @param {Record<string, string>} [labels] those that it has at least
 * @returns {number | undefined}
 */
function valueIn(text, name, labels = {}) {
  const samples = [...parse(text).values()].flatMap(({ samples }) => samples);
  const wanted = samples.filter(
    (sample) =>
      sample.name === name &&
      Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  );
  assert.ok(wanted.length <= 1, `one series of ${name} with ${JSON.stringify(labels)}`);
  return wanted[0]?.value;
}

module.exports = { parse, valueIn };

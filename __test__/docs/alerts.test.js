// The alert rules of docs/alerts.yml ask for metrics and labels that exist, and say what to do.

"use strict";

const assert = require("node:assert/strict");
const yaml = require("js-yaml");
const { describe, test } = require("node:test");

const {
  COUNTERS,
  HISTOGRAMS,
  SERVER_GAUGES,
  STREAM_GAUGES,
} = require("../../lib/metrics/definitions");
const { read } = require("./markdown");

const PREFIX = "socketio_redis_streams_";
const NAMES = new Set([
  ...[...COUNTERS, ...SERVER_GAUGES, ...STREAM_GAUGES].map(({ name }) => name),
  ...HISTOGRAMS.flatMap(({ name }) => ["_bucket", "_sum", "_count"].map((end) => name + end)),
]);
/** Labels that Prometheus adds, and the histogram's. */
const LABELS = new Set(["job", "instance", "le", "stream"]);

/** @type {{ alert: string, expr: string, for?: string, labels: any, annotations: any }[]} */
const rules = /** @type {any} */ (yaml.load(read("docs/alerts.yml"))).groups.flatMap(
  (/** @type {any} */ group) => group.rules,
);

describe("the alert rules", () => {
  test("have names of their own", () => {
    assert.ok(rules.length > 0);
    assert.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length);
  });

  for (const { alert, expr, labels, annotations, for: pending } of rules) {
    test(alert, () => {
      const metrics = [...expr.matchAll(new RegExp(`${PREFIX}(\\w+)`, "g"))].map(
        ([, name]) => name,
      );
      assert.ok(metrics.length > 0, "asks for a metric");
      assert.deepEqual(
        metrics.filter((name) => !NAMES.has(name)),
        [],
        "metrics that do not exist",
      );
      const grouped = [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list]) =>
        list.split(", "),
      );
      assert.deepEqual(
        grouped.filter((label) => !LABELS.has(label)),
        [],
        "labels that do not exist",
      );
      const counted = new Set(COUNTERS.map(({ name }) => name));
      for (const name of metrics.filter((each) => counted.has(each))) {
        assert.match(
          expr,
          new RegExp(`(rate|increase)\\(${PREFIX}${name}\\[`),
          `${name} only rises`,
        );
      }
      assert.equal(expr.split("(").length, expr.split(")").length, "parentheses");
      assert.match(pending ?? "1m", /^\d+[sm]$/);
      assert.ok(["info", "warning", "critical"].includes(labels.severity), labels.severity);
      assert.ok(annotations.summary && annotations.description, "says what it means, what to do");
    });
  }
});

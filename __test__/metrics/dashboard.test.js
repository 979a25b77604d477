// docs/grafana-dashboard.json shows all metrics that a node exposes, and no other ones.

"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { test } = require("node:test");
const { Registry } = require("prom-client");
const { registerMetrics } = require("../../metrics");
const { PREFIX } = require("../../scripts/dashboard-panels");
const { FILE, text } = require("../../scripts/dashboard");
const { waitFor } = require("../helpers/wait");
const { parse } = require("./exposition");
const { SOON, nodeOn, ownRedis } = require("./setup");

const dashboard = JSON.parse(fs.readFileSync(FILE, "utf8"));
/** @type {any[]} */
const panels = dashboard.panels.filter((/** @type {any} */ panel) => panel.type !== "row");
/** @type {string[]} */
const variables = dashboard.templating.list.map((/** @type {any} */ { name }) => name);

/** The metrics that a text asks for, as they are declared. @param {string} expression */
function metricsIn(expression) {
  const names = expression.match(new RegExp(`${PREFIX}\\w+`, "g")) ?? [];
  return names.map((name) => name.replace(/(_seconds)_(bucket|sum|count)$/, "$1"));
}

test("is what `npm run dashboard` writes", () => {
  assert.equal(fs.readFileSync(FILE, "utf8"), text());
});

test("shows each metric of a node, and no other", async (t) => {
  const { redis } = await ownRedis(t);
  const node = await nodeOn(t, redis.url);
  const register = new Registry();
  registerMetrics(node.io, { register });
  await waitFor(() => node.stats().lagEntries !== undefined, SOON);
  const families = parse(await register.metrics());
  const shown = panels.flatMap(({ targets }) =>
    targets.flatMap((/** @type {any} */ { expr }) => {
      assert.ok(metricsIn(expr).length > 0, expr);
      return metricsIn(expr);
    }),
  );
  assert.deepEqual([...new Set(shown)].sort(), [...families.keys()].sort());

  // Counters by their rates, gauges as they are, labels that are there.
  for (const { title, targets } of panels) {
    for (const { expr } of targets) {
      for (const [, name, selector] of expr.matchAll(/(\w+)(\{.*?\})/g)) {
        const [declared] = metricsIn(name);
        const family = families.get(declared);
        const isRate = new RegExp(`(rate|increase)\\(${name}\\{`).test(expr);
        assert.equal(isRate, family?.type !== "gauge", `${title}: ${expr}`);
        const labels = [...selector.matchAll(/(\w+)=~"\$(\w+)"/g)];
        assert.ok(labels.length >= 2, expr);
        for (const [, label, variable] of labels) {
          assert.ok(variables.includes(variable), `${title}: $${variable}`);
          if (!["job", "instance"].includes(label)) {
            assert.ok(
              family?.samples.every(({ labels }) => label in labels),
              `${title}: ${label}`,
            );
          }
        }
      }
    }
  }
});

test("has what Grafana needs", () => {
  const { uid, title, schemaVersion, templating, time } = dashboard;
  assert.ok(uid.length <= 40 && title && schemaVersion >= 36 && time.from && time.to);
  assert.deepEqual(variables, ["datasource", "job", "instance", "stream"]);
  for (const { type, query } of templating.list) {
    assert.ok(
      type === "datasource" ? query === "prometheus" : query.query.startsWith("label_values("),
    );
  }
  const ids = dashboard.panels.map((/** @type {any} */ { id }) => id);
  assert.equal(new Set(ids).size, ids.length);
  const taken = new Set();
  for (const {
    title,
    gridPos,
    description,
    datasource,
    targets,
    fieldConfig,
    type,
  } of dashboard.panels) {
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.ok(x < 24 && !taken.has(`${x},${y}`), `${title} has its place`);
        taken.add(`${x},${y}`);
      }
    }
    if (type !== "row") {
      assert.ok(["stat", "timeseries"].includes(type) && description && targets.length > 0, title);
      assert.equal(datasource.uid, "${datasource}");
      const { thresholds } = fieldConfig.defaults;
      assert.equal(thresholds.steps[0].value, null, title);
    }
  }
});

"use strict";
// `npm run dashboard`: writes docs/grafana-dashboard.json from the panels in dashboard-panels.js.

const { writeFileSync } = require("node:fs");
const { join } = require("node:path");

const { BY_NODE, NODE, PREFIX, ROWS } = require("./dashboard-panels");
const { ROOT, main } = require("./run");

const FILE = join(ROOT, "docs", "grafana-dashboard.json");
const DATASOURCE = { type: "prometheus", uid: "${datasource}" };
/** The size of Grafana's grid. */
const COLUMNS = 24;
const STAT_HEIGHT = 4;
const GRAPH_HEIGHT = 8;

/** @param {string} name @param {string} of @param {string} [filter] */
function variable(name, of, filter = "") {
  const query = `label_values(${PREFIX}${of}${filter}, ${name})`;
  return {
    name,
    type: "query",
    datasource: DATASOURCE,
    definition: query,
    query: { query, refId: name },
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    current: { selected: true, text: ["All"], value: ["$__all"] },
  };
}

/** @param {import("./dashboard-panels").Panel} panel @param {number} id @param {Record<string, number>} gridPos */
function panelOf({ title, description, targets, unit = "short", thresholds, isStat }, id, gridPos) {
  const steps = (thresholds ?? [["green", null]]).map(([color, value]) => ({ color, value }));
  const defaults = { unit, min: 0, thresholds: { mode: "absolute", steps } };
  return {
    id,
    type: isStat ? "stat" : "timeseries",
    title,
    description,
    datasource: DATASOURCE,
    gridPos,
    targets: targets.map(([expr, legendFormat], i) => ({
      refId: String.fromCharCode(65 + i),
      datasource: DATASOURCE,
      expr,
      legendFormat,
    })),
    fieldConfig: {
      defaults: isStat
        ? { ...defaults, color: { mode: "thresholds" } }
        : {
            ...defaults,
            color: { mode: "palette-classic" },
            custom: {
              lineWidth: 1,
              fillOpacity: 10,
              thresholdsStyle: { mode: thresholds ? "dashed" : "off" },
            },
          },
      overrides: [],
    },
    options: isStat
      ? { reduceOptions: { calcs: ["lastNotNull"] }, colorMode: "value", graphMode: "area" }
      : { legend: { displayMode: "list", placement: "bottom" }, tooltip: { mode: "multi" } },
  };
}

function dashboard() {
  const panels = [];
  let y = 0;
  let id = 1;
  for (const { title, panels: own } of ROWS) {
    const gridPos = { x: 0, y: y++, w: COLUMNS, h: 1 };
    panels.push({ id: id++, type: "row", title, collapsed: false, gridPos, panels: [] });
    const isStat = Boolean(own[0].isStat);
    const height = isStat ? STAT_HEIGHT : GRAPH_HEIGHT;
    const perLine = isStat ? own.length : Math.min(own.length, 3);
    const w = COLUMNS / perLine;
    own.forEach((panel, i) => {
      const place = { x: (i % perLine) * w, y: y + Math.floor(i / perLine) * height, w, h: height };
      panels.push(panelOf(panel, id++, place));
    });
    y += Math.ceil(own.length / perLine) * height;
  }
  return {
    uid: "socketio-redis-streams",
    title: "Socket.IO over Redis Streams",
    description: "Nodes with socket.io-redis-streams-native, by their registerMetrics().",
    tags: ["socket.io", "redis"],
    schemaVersion: 39,
    version: 1,
    editable: true,
    refresh: "30s",
    time: { from: "now-1h", to: "now" },
    timezone: "",
    templating: {
      list: [
        {
          name: "datasource",
          label: "Data source",
          type: "datasource",
          query: "prometheus",
          current: {},
        },
        variable("job", "connected"),
        variable("instance", "connected", '{job=~"$job"}'),
        variable("stream", "connected", NODE),
      ],
    },
    annotations: {
      list: [
        {
          name: "Losses",
          datasource: DATASOURCE,
          enable: true,
          iconColor: "red",
          expr: `increase(${PREFIX}losses_total${NODE}[1m]) > 0`,
          titleFormat: "loss",
          textFormat: BY_NODE,
        },
      ],
    },
    panels,
  };
}

/** The text that the file must have. */
const text = () => `${JSON.stringify(dashboard(), null, 2)}\n`;

if (require.main === module) {
  main({}, () => writeFileSync(FILE, text()));
}

module.exports = { FILE, text };

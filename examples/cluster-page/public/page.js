// The page: a tab is a client of one node, checks the packets that it gets, and shows the cluster.

import { currentName, openChat } from "./chat.js";
import { makeCharts } from "./charts.js";
import { byId, element, say } from "./dom.js";
import { Events } from "./events.js";
import { count, milliseconds } from "./format.js";
import { History } from "./history.js";
import { listenToButtons, makeTargets } from "./hurt.js";
import { openLink } from "./link.js";
import { NodeCard, lag } from "./nodes.js";
import { PacketCheck } from "./packet-check.js";
import { Summary } from "./summary.js";

const history = new History();
const events = new Events(history);
const check = new PacketCheck();
const summary = new Summary(check);
const socket = openLink(() => ({ name: currentName(), watches: true }));

/** @typedef {import("../supervisor/supervisor.js").Cluster} Cluster what the supervisor knows */

/** @type {Cluster | undefined} */
let cluster;
/** @type {NodeCard[]} */
let cards = [];
/** @type {import("./chart.js").Chart[]} */
let charts = [];
/** @type {string | undefined} the node that this tab is connected to */
let ownNode;
/** The links to other nodes, as they are shown. */
let shownLinks = "";
/** @type {number | undefined} when this tab lost its connection */
let lostAt;
/** When the last row was made. */
let lastTick = performance.now();
/** Packets since then, by the node that emitted them. @type {Record<string, number>} */
let received = {};

/**
 * @param {"connected" | "silent" | "lost"} state
 * @param {string} words
 */
function setConnection(state, words) {
  byId("connection").dataset.state = state;
  say(byId("connection"), words);
}

/** @param {Cluster["nodes"]} nodes */
function showLinks(nodes) {
  const others = nodes.filter(({ name, address }) => address && name !== ownNode);
  const shown = others.map(({ name, address }) => `${name} ${address}`).join();
  if (shown === shownLinks) {
    return; // or one that has the focus would lose it
  }
  shownLinks = shown;
  const links = others.map(({ name, address }) => {
    const link = element("a", "", name);
    Object.assign(link, { href: address, target: "_blank", rel: "noopener" });
    return link;
  });
  byId("other-nodes").replaceChildren(...links.flatMap((link, i) => (i ? [" or ", link] : link)));
}

/** As long as nothing is heard of this tab's node: it is blocked, or hangs. */
function showSilence() {
  const own = cards.find(({ name }) => name === ownNode);
  if (own && !own.sample) {
    setConnection("silent", `${own.name} is silent`);
  } else if (own) {
    setConnection("connected", `connected to ${own.name}`);
  }
}

function showNodes() {
  cluster?.nodes.forEach(({ name, state }, i) => {
    // Without a connection nothing is known of any node, but that it is not heard.
    cards[i]?.show(socket.connected ? state : "running", name === ownNode);
  });
}

/**
 * The nodes are known: what there is one of for each.
 *
 * @param {Cluster["nodes"]} nodes
 */
function build(nodes) {
  const names = nodes.map(({ name }) => name);
  cards = names.map((name, i) => new NodeCard(byId("nodes"), name, i + 1));
  charts = makeCharts(byId("charts"), names, history);
  makeTargets(names, ownNode);
}

socket.on("cluster", (/** @type {Cluster} */ news) => {
  if (cards.length === 0) {
    build(news.nodes);
  }
  cluster = news;
  events.ofCluster(news.events);
  byId("restart-redis").hidden = !news.redis.isOurs;
  byId("redis").dataset.state = news.redis.state;
  say(byId("redis"), news.redis.state);
  showLinks(news.nodes);
  showNodes();
});

socket.on("sample", (/** @type {import("./nodes.js").Sample} */ sample) => {
  cards.find(({ name }) => name === sample.node)?.hear(sample);
  showNodes();
});

socket.on("packet", (/** @type {import("./packet-check.js").NumberedPacket} */ packet) => {
  check.receive(packet);
  summary.addLatency(Date.now() - packet.time);
  received[packet.node] = (received[packet.node] ?? 0) + 1;
});

socket.on("connect", () => {
  check.begin(Date.now());
  if (lostAt !== undefined) {
    summary.addReconnect(socket.recovered);
  }
});

socket.on("welcome", (/** @type {{ node: string }} */ { node }) => {
  ownNode = node;
  document.title = `${node}: cluster at work`;
  setConnection("connected", `connected to ${node}`);
  if (lostAt !== undefined) {
    const after = milliseconds(performance.now() - lostAt);
    const how = socket.recovered
      ? "what it missed has come"
      : "not recovered: what it missed is lost";
    events.ofThisTab("back", `This tab is back after ${after}, on ${node}; ${how}`);
    lostAt = undefined;
  }
});

socket.on("disconnect", () => {
  lostAt = performance.now();
  setConnection("lost", `${ownNode ?? "the node"} is gone, looking for another`);
  events.ofThisTab("lost", `This tab lost ${ownNode ?? "its node"}`);
  ownNode = undefined;
});

/** Once a second, or less often where nobody looks at the tab: a new row for the charts. */
function tick() {
  const seconds = (performance.now() - lastTick) / 1_000;
  lastTick = performance.now();
  showNodes();
  showSilence();
  const fresh = cards.map(({ sample }) => sample);
  /** @type {Record<string, number | null | undefined>} */
  const row = { ...summary.takeSecond() };
  cards.forEach(({ name }, i) => {
    row[`received ${name}`] = (received[name] ?? 0) / seconds;
    row[`read ${name}`] = fresh[i]?.readRate;
    row[`lag ${name}`] = fresh[i] && lag(fresh[i]);
    row[`loop ${name}`] = fresh[i]?.loopDelay;
  });
  const lengths = fresh.flatMap((sample) => sample?.stats.streamLength ?? []);
  row["stream length"] = lengths.length > 0 ? Math.max(...lengths) : null;
  received = {};
  say(byId("stream-length"), count(row["stream length"]));
  summary.show();
  history.push(Date.now() / 1_000, row);
  charts.forEach((chart) => chart.draw());
}

setInterval(tick, 1_000);
listenToButtons(socket);
openChat(socket);

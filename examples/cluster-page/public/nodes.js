// A card for each node: how it is, and its numbers.

import { element, say } from "./dom.js";
import { count, megabytes, milliseconds, percent, perSecond } from "./format.js";

/** A node unheard of for this long is said to be silent (ms): it tells of itself once a second. */
const SILENT = 2_500;

/** @typedef {import("../sampler.js").Sample & { stats: any }} Sample */

/**
 * How old the oldest packet is that has not come through: not read, or waiting for the event loop.
 *
 * @param {Sample} sample
 * @returns {number | null} in ms, null where it is not known
 */
export function lag({ stats }) {
  return stats.lagMs === undefined ? null : Math.max(stats.lagMs, stats.inboxAgeMs ?? 0);
}

/** @type {[string, (sample: Sample) => string][]} */
const FIGURES = [
  ["Sockets", ({ sockets }) => count(sockets)],
  ["Rooms", ({ rooms }) => count(rooms)],
  ["Reads", ({ readRate }) => perSecond(readRate)],
  ["Publishes", ({ publishRate }) => perSecond(publishRate)],
  ["Behind by", (sample) => milliseconds(lag(sample))],
  ["Loop delay", ({ loopDelay }) => milliseconds(loopDelay)],
  ["CPU", ({ cpu }) => percent(cpu)],
  ["Memory", ({ memory }) => megabytes(memory)],
  ["Reconnects", ({ stats }) => count(stats.reconnects)],
  ["Entries lost", ({ stats }) => count(stats.lost)],
];

const WORDS = {
  starting: "starting",
  running: "running",
  blocked: "event loop blocked",
  dead: "dead, back soon",
  silent: "not heard from",
  cut: "no Redis",
};

export class NodeCard {
  /** @type {Sample | undefined} the latest, while it is fresh */
  sample;
  #heard = -Infinity;
  #state = element("p", "state", "starting");
  #badge = element("p", "badge", "this tab");
  #figures = FIGURES.map(() => element("dd", "", "–"));
  #card;

  /**
   * @param {Element} parent
   * @param {string} name
   * @param {number} place
   */
  constructor(parent, name, place) {
    this.name = name;
    const figures = FIGURES.map(([label], i) =>
      element("div", "", element("dt", "", label), this.#figures[i]),
    );
    this.#card = element(
      "article",
      `card colour-node-${place}`,
      element("div", "card-head", element("h3", "", name), this.#state, this.#badge),
      element("dl", "", ...figures),
    );
    this.#card.dataset.node = name;
    parent.append(this.#card);
  }

  /** @param {Sample} sample */
  hear(sample) {
    this.sample = sample;
    this.#heard = performance.now();
    this.#showFigures();
  }

  #showFigures() {
    FIGURES.forEach(([, format], i) => {
      say(this.#figures[i], this.sample ? format(this.sample) : "–");
    });
  }

  /**
   * @param {import("../supervisor/node-process.js").State} state as the supervisor knows it
   * @param {boolean} isOurs whether this tab is connected to it
   */
  show(state, isOurs) {
    const silence = performance.now() - this.#heard;
    if (silence > SILENT || state === "dead" || state === "starting") {
      this.sample = undefined;
      this.#showFigures();
    }
    const shown = state === "running" ? this.#health() : state;
    this.#card.dataset.state = shown;
    say(this.#state, WORDS[shown]);
    this.#badge.hidden = !isOurs;
  }

  /** How a node is that runs. @returns {keyof WORDS} */
  #health() {
    if (!this.sample) {
      return "silent";
    }
    return this.sample.stats.connected === false ? "cut" : "running";
  }
}

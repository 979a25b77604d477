// A card for each node: how it is, and its numbers.

import { element, say } from "./dom.js";
import { count, megabytes, milliseconds, percent, perSecond } from "./format.js";

/** A node unheard of for this long is said to be silent (ms): it tells of itself once a second. */
const SILENT = 2_500;

/** @typedef {import("../sampler").Sample} Sample */

/** @type {[string, (sample: Sample & { stats: any }) => string][]} */
const FIGURES = [
  ["Sockets", ({ sockets }) => count(sockets)],
  ["Rooms", ({ rooms }) => count(rooms)],
  ["Reads", ({ readRate }) => perSecond(readRate)],
  ["Publishes", ({ publishRate }) => perSecond(publishRate)],
  ["Behind by", ({ stats }) => milliseconds(stats.lagMs)],
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
  dead: "dead, starts again soon",
};

export class NodeCard {
  /** @type {Sample | undefined} the latest, while it is fresh */
  sample;
  #heard = -Infinity;
  #state = element("p", "state", "starting");
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
      element("h3", "", name),
      this.#state,
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
   * @param {keyof WORDS} state as the supervisor knows it
   * @param {boolean} isOurs whether this tab is connected to it
   */
  show(state, isOurs) {
    const silence = performance.now() - this.#heard;
    if (silence > SILENT || state === "dead" || state === "starting") {
      this.sample = undefined;
      this.#showFigures();
    }
    const isSilent = state === "running" && !this.sample;
    this.#card.dataset.state = isSilent ? "silent" : state;
    const words = isSilent ? "not heard from" : WORDS[state];
    say(this.#state, isOurs ? `${words} · this tab's node` : words);
  }
}

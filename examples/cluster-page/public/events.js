// What happened, in words, and as marks in the charts.

import { appendTo, byId, element } from "./dom.js";
import { clock } from "./format.js";

const LIMIT = 100;

export class Events {
  #history;
  #list = byId("events");
  /** @type {Set<string>} those of the cluster that are shown: each node tells all that it knows */
  #shown = new Set();

  /** @param {import("./history.js").History} history */
  constructor(history) {
    this.#history = history;
  }

  /**
   * @param {number} time
   * @param {string} text
   */
  #show(time, text) {
    const item = element("li", "", element("time", "", clock(time)), ` ${text}`);
    item.dataset.time = String(time);
    // A tab that was cut off hears of what happened meanwhile when it is back.
    const later = [...this.#list.children].find((each) => Number(each.dataset.time) > time);
    if (later) {
      later.before(item);
    } else {
      appendTo(this.#list, item, LIMIT);
    }
  }

  /** @param {import("../supervisor/supervisor.js").ClusterEvent[]} events the latest of the cluster */
  ofCluster(events) {
    for (const { id, time, text, isHarm } of events.filter((each) => !this.#shown.has(each.id))) {
      this.#shown.add(id);
      this.#show(time, text);
      if (isHarm) {
        this.#history.mark("hurt", time / 1_000);
      }
    }
  }

  /**
   * @param {"lost" | "back"} kind
   * @param {string} text
   */
  ofThisTab(kind, text) {
    this.#show(Date.now(), text);
    this.#history.mark(kind, Date.now() / 1_000);
  }
}

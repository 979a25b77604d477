// This tab in figures: what arrived, how fast, and whether anything is missing.

import { byId, say } from "./dom.js";
import { count, milliseconds } from "./format.js";
import { quantile } from "./packet-check.js";

/** Over how many seconds the latency is taken. */
const SECONDS = 10;

export class Summary {
  #check;
  /** @type {number[][]} latencies, by second, the last one still open */
  #latencies = [[]];
  #reconnected = 0;
  #recovered = 0;

  /** @param {import("./packet-check.js").PacketCheck} check */
  constructor(check) {
    this.#check = check;
  }

  /** @param {number} ms */
  addLatency(ms) {
    this.#latencies.at(-1)?.push(Math.max(0, ms));
  }

  /** @param {boolean} recovered */
  addReconnect(recovered) {
    this.#reconnected++;
    this.#recovered += Number(recovered);
  }

  /** Ends the current second. */
  takeSecond() {
    const second = this.#latencies.at(-1) ?? [];
    this.#latencies.push([]);
    this.#latencies.splice(0, this.#latencies.length - SECONDS - 1);
    return { p50: quantile(second, 0.5), p99: quantile(second, 0.99) };
  }

  show() {
    const { received, lost, doubled, outOfOrder, isWhole } = this.#check;
    say(byId("received"), count(received));
    for (const [id, value] of Object.entries({ lost, doubled, "out-of-order": outOfOrder })) {
      say(byId(id), count(value));
      byId(id).dataset.state = value === 0 ? "none" : "some";
    }
    const all = this.#latencies.flat();
    const [median, tail] = [quantile(all, 0.5), quantile(all, 0.99)];
    say(byId("latency"), `${milliseconds(median)}, ${milliseconds(tail)}`);
    const refused = this.#reconnected - this.#recovered;
    say(
      byId("reconnected"),
      refused === 0
        ? `${count(this.#reconnected)}${this.#reconnected > 0 ? ", all recovered" : ""}`
        : `${count(this.#reconnected)}, ${count(refused)} not recovered`,
    );
    if (received > 0) {
      byId("verdict").dataset.state = isWhole ? "whole" : "broken";
      say(
        byId("verdict"),
        isWhole
          ? `${count(received)} packets, each once, in order`
          : `${count(lost)} lost, ${count(doubled)} doubled, ${count(outOfOrder)} out of order`,
      );
    }
  }
}

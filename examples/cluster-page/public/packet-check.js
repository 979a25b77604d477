// Whether every numbered packet arrived, once and in order, and how long each took.

/**
 * @typedef {import("../packet-source.js").NumberedPacket} NumberedPacket
 *
 * @typedef {object} Source
 * @property {number} next the number that comes next
 * @property {Set<number>} missing numbers that were passed over, and have not come yet
 */

/**
 * @param {number[]} values
 * @param {number} share 0.5 for the median
 * @returns {number | null} null without values
 */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? null;
}

export class PacketCheck {
  received = 0;
  doubled = 0;
  outOfOrder = 0;
  /** @type {Map<string, Source>} */
  #sources = new Map();
  /** When this tab began to watch: all packets of sources that are younger have to come. */
  #began = Infinity;

  /** Those that never came, as far as is known: behind each a later one of its source has come. */
  get lost() {
    return [...this.#sources.values()].reduce((sum, { missing }) => sum + missing.size, 0);
  }

  get isWhole() {
    return this.lost === 0 && this.doubled === 0 && this.outOfOrder === 0;
  }

  /**
   * From now on nothing may be missing, whatever becomes of the connection.
   *
   * @param {number} time
   */
  begin(time) {
    this.#began = Math.min(this.#began, time);
  }

  /** @param {NumberedPacket} packet */
  receive({ source: id, number, since }) {
    this.received++;
    let source = this.#sources.get(id);
    if (!source) {
      source = { next: since >= this.#began ? 1 : number, missing: new Set() };
      this.#sources.set(id, source);
    }
    if (number >= source.next) {
      for (let missed = source.next; missed < number; missed++) {
        source.missing.add(missed);
      }
      source.next = number + 1;
    } else if (source.missing.delete(number)) {
      this.outOfOrder++;
    } else {
      this.doubled++;
    }
  }
}

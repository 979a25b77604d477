"use strict";
// Redis over a plain socket, without a client library: writes entries of other nodes, and measures what
// the server itself can do.

const { once } = require("node:events");
const net = require("node:net");

const STREAM = "socket.io";
const BATCH = 500;
const PAGE_SIZE = 1_000;
/** The end of every entry that is read in pages. */
const LAST_VALUE = "|the end of an entry|\r\n";
const LONGEST_ENTRY = 5_000;
/** The beginning of a reply to XRANGE or XREAD. */
const PAGE = /^(?:\*1\r\n\*2\r\n\$\d+\r\n\S+\r\n)?\*(\d+)\r\n/;
const ID = /\r\n(\d+-\d+)\r\n/g;

/** A command in RESP. @param {...(string | number)} parts */
const command = (...parts) =>
  `*${parts.length}\r\n${parts.map((part) => `$${Buffer.byteLength(String(part))}\r\n${part}\r\n`).join("")}`;

class RawRedis {
  #socket;
  /** @type {(data: Buffer) => void} */
  #onData = () => {};

  /** @param {number} port */
  constructor(port) {
    this.#socket = net.connect(port, "127.0.0.1");
    this.#socket.on("data", (data) => this.#onData(data));
    this.connected = once(this.#socket, "connect");
  }

  /**
   * Sends commands whose replies hold one `$` each, and waits for the replies.
   *
   * @param {string | Buffer} commands
   * @param {number} replies
   */
  #run(commands, replies) {
    return new Promise((resolve) => {
      let missing = replies;
      this.#onData = (data) => {
        for (let at = data.indexOf(36); at >= 0; at = data.indexOf(36, at + 1)) {
          missing--;
        }
        if (missing === 0) {
          resolve(undefined);
        }
      };
      this.#socket.write(commands);
    });
  }

  /**
   * Adds the same entry many times.
   *
   * @param {Record<string, string>} fields
   * @param {number} count
   */
  async add(fields, count) {
    const one = command("XADD", STREAM, "*", ...Object.entries(fields).flat());
    const size = Math.min(BATCH, Math.max(1, Math.floor(1_000_000 / one.length)));
    const batch = Buffer.from(one.repeat(size));
    for (let left = count; left > 0; left -= size) {
      const now = Math.min(size, left);
      await this.#run(now === size ? batch : one.repeat(now), now);
    }
  }

  /**
   * Requests page after page, and reads only the number of entries and the last ID. Every entry must end
   * with LAST_VALUE.
   *
   * @param {string} start
   * @param {(last: string) => string} next makes the command for the page after an entry
   * @param {number} [until] resolves after this number of entries
   * @returns {Promise<void>}
   */
  #readPages(start, next, until = Infinity) {
    let last = start;
    let seen = 0;
    /** Entries of the page that have not arrived yet. */
    let missing = 0;
    let before = "";
    return new Promise((resolve) => {
      this.#onData = (data) => {
        const text = before + data.toString("latin1");
        if (missing === 0) {
          const page = PAGE.exec(text);
          if (!page) {
            before = text;
            return;
          }
          missing = Number(page[1]);
        }
        const found = text.split(LAST_VALUE).length - 1;
        missing -= found;
        seen += found;
        if (missing > 0) {
          before = text.slice(text.lastIndexOf(LAST_VALUE) + LAST_VALUE.length);
          return;
        }
        before = "";
        last = [...text.slice(-LONGEST_ENTRY).matchAll(ID)].at(-1)?.[1] ?? last;
        if (seen >= until) {
          resolve();
        } else {
          this.#socket.write(next(last));
        }
      };
      this.#socket.write(next(last));
    });
  }

  /**
   * Reads the whole stream.
   *
   * @param {number} count of its entries
   * @returns {Promise<number>} entries per second
   */
  async egress(count) {
    const start = process.hrtime.bigint();
    const next = (/** @type {string} */ last) =>
      command("XRANGE", STREAM, `(${last}`, "+", "COUNT", PAGE_SIZE);
    await this.#readPages("0-0", next, count);
    return count / (Number(process.hrtime.bigint() - start) / 1e9);
  }

  /** Reads new entries of the stream, as a node does, until it is closed. */
  drain() {
    const next = (/** @type {string} */ last) =>
      command("XREAD", "BLOCK", 0, "COUNT", PAGE_SIZE, "STREAMS", STREAM, last);
    return this.#readPages("$", next);
  }

  close() {
    this.#socket.destroy();
  }
}

module.exports = { command, RawRedis, STREAM, LAST_VALUE };

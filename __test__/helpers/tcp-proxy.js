// A TCP proxy in front of a server that does to connections what networks do: it cuts them at any
// byte, stalls one direction or both, delays, limits the bandwidth, leads to another server while
// old connections live on. A test can also look at each chunk, and cut there or change it.

"use strict";

const { once } = require("node:events");
const net = require("node:net");
const tls = require("node:tls");

/**
 * @typedef {"up" | "down"} Direction to the server, or to the client
 * @typedef {number | net.TcpNetConnectOpts} Target a port of 127.0.0.1, or what `net.connect` takes
 * @typedef {ReturnType<typeof import("../connection/certificates").makeCertificates>} Certificates
 *
 * @typedef {object} Conditions what one direction does to what it carries
 * @property {boolean} stalled nothing passes; both ends stay open
 * @property {number} delay ms that each chunk takes
 * @property {number} bytesPerSecond at most
 *
 * @callback Inspect called for each chunk that is about to pass; decides what becomes of it and of
 *   the link
 * @param {Link} link
 * @param {Direction} direction
 * @param {Buffer} chunk
 * @returns {Verdict | void} nothing: it passes
 *
 * @typedef {object} Verdict
 * @property {number} [pass] so many bytes of the chunk pass, then the link is cut
 * @property {Buffer} [instead] passes instead of the chunk; the link lives on
 * @property {number} [late] ms after the cut, at which the rest of the chunk still reaches the
 *   server: a packet that had lain in the network
 */

/** @type {Direction[]} */
const DIRECTIONS = ["up", "down"];
/** What a direction holds before it stops to read, as a network does, bytes. */
const CAPACITY = 1 << 20;
/** A chunk passes in pieces of so many ms where the bandwidth is limited. */
const PIECE = 10;

/** @param {Certificates} certificates @returns {tls.TlsOptions} */
const tlsOptions = ({ server: cert, serverKey: key, ca }) => ({
  ...{ cert, key, ca, noDelay: true },
  ...{ requestCert: true, rejectUnauthorized: true },
});

/** @returns {Conditions} */
const undisturbed = () => ({ stalled: false, delay: 0, bytesPerSecond: Infinity });

/** One direction of a link. */
class Pipe {
  /** What has come and not passed. @type {{ chunk: Buffer, due: number, inspected: boolean }[]} */
  #queue = [];
  #queued = 0;
  /** When the last piece has passed at the bandwidth that there is. */
  #freeAt = 0;
  #ended = false;
  #closing = false;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;

  /**
   * @param {Link} link
   * @param {Direction} direction
   * @param {net.Socket} from
   * @param {net.Socket} to
   * @param {Conditions} conditions
   */
  constructor(link, direction, from, to, conditions) {
    this.link = link;
    this.direction = direction;
    this.from = from;
    this.to = to;
    this.conditions = { ...conditions };
    /** How many more bytes pass before the link is cut. */
    this.left = Infinity;
    from.on("data", (chunk) => {
      this.#queue.push({ chunk, due: Date.now() + this.conditions.delay, inspected: false });
      this.#queued += chunk.length;
      this.pump();
    });
    from.on("error", () => {}); // "close" follows
    from.on("close", () => {
      this.#ended = true;
      this.pump();
    });
    to.on("drain", () => this.pump());
    to.on("close", () => clearTimeout(this.#timer));
  }

  /** Passes on what may pass now, and comes back for the rest. */
  pump() {
    clearTimeout(this.#timer);
    while (this.#mayPass()) {
      const wait = Math.max(this.#queue[0].due, this.#freeAt) - Date.now();
      if (wait > 0) {
        this.#timer = setTimeout(() => this.pump(), wait);
        break;
      }
      if (this.#inspect(this.#queue[0])) {
        this.#pass(this.#take(Math.ceil((this.conditions.bytesPerSecond * PIECE) / 1_000)));
      }
    }
    if (this.#queued < CAPACITY) {
      this.from.resume();
    } else {
      this.from.pause();
    }
    const isOver = this.#ended && !this.conditions.stalled && this.#queue.length === 0;
    if (isOver && !this.#closing) {
      this.#closing = true;
      this.to.destroySoon();
    }
  }

  #mayPass() {
    const { to } = this;
    return (
      !this.conditions.stalled && this.#queue.length > 0 && !to.destroyed && !to.writableNeedDrain
    );
  }

  /**
   * @param {{ chunk: Buffer, inspected: boolean }} next
   * @returns {boolean} whether it passes, or what stands for it
   */
  #inspect(next) {
    const verdict = next.inspected ? undefined : this.link.inspect(this.direction, next.chunk);
    next.inspected = true;
    if (!verdict) {
      return true;
    }
    if (verdict.instead) {
      this.#queued += verdict.instead.length - next.chunk.length;
      next.chunk = verdict.instead;
      return true;
    }
    if (verdict.late === undefined) {
      this.left = verdict.pass ?? 0;
      return true;
    }
    this.link.stall();
    this.link.client.destroy();
    setTimeout(() => this.link.release(), verdict.late);
    return false;
  }

  /** The next bytes of the queue, no more than these and of one chunk. @param {number} most */
  #take(most) {
    const [{ chunk }] = this.#queue;
    const piece = chunk.subarray(0, most);
    if (piece.length === chunk.length) {
      this.#queue.shift();
    } else {
      this.#queue[0].chunk = chunk.subarray(most);
    }
    this.#queued -= piece.length;
    return piece;
  }

  /** @param {Buffer} piece */
  #pass(piece) {
    if (piece.length >= this.left) {
      this.link.stall();
      this.to.write(piece.subarray(0, this.left), () => this.link.destroy());
      return;
    }
    this.left -= piece.length;
    this.to.write(piece);
    const time = (piece.length / this.conditions.bytesPerSecond) * 1_000;
    this.#freeAt = Math.max(this.#freeAt, Date.now()) + time;
  }

  /** All that is held, which is held no more. */
  empty() {
    const chunks = this.#queue.map(({ chunk }) => chunk);
    this.#queue = [];
    this.#queued = 0;
    return Buffer.concat(chunks);
  }
}

/** One connection through a proxy. */
class Link {
  /**
   * @param {net.Socket} client
   * @param {net.Socket} server
   * @param {Inspect} inspect
   * @param {Record<Direction, Conditions>} conditions
   */
  constructor(client, server, inspect, { up, down }) {
    this.client = client;
    this.server = server;
    /** For `inspect` to remember things by. @type {Record<string, any>} */
    this.notes = {};
    this.inspect = (/** @type {Direction} */ direction, /** @type {Buffer} */ chunk) =>
      inspect(this, direction, chunk);
    this.pipes = {
      up: new Pipe(this, "up", client, server, up),
      down: new Pipe(this, "down", server, client, down),
    };
  }

  /**
   * @param {Partial<Conditions>} conditions
   * @param {Direction} [direction] by default both
   */
  set(conditions, direction) {
    for (const each of direction ? [direction] : DIRECTIONS) {
      Object.assign(this.pipes[each].conditions, conditions);
      this.pipes[each].pump();
    }
  }

  /** Nothing passes any more; the end of one side is not seen by the other. @param {Direction} [direction] */
  stall(direction) {
    this.set({ stalled: true }, direction);
  }

  /** What came meanwhile passes, and everything again. @param {Direction} [direction] */
  resume(direction) {
    this.set({ stalled: false }, direction);
  }

  /** What a stalled link holds still reaches the server, and nothing behind it. */
  release() {
    const held = this.pipes.up.empty();
    if (!this.server.destroyed) {
      this.server.write(held);
      this.server.end();
    }
  }

  destroy() {
    this.client.destroy();
    this.server.destroy();
  }

  /** Ends it by an RST to both. */
  reset() {
    this.client.resetAndDestroy();
    this.server.resetAndDestroy();
  }
}

class TcpProxy {
  /** Of links to come. @type {Record<Direction, Conditions>} */
  #conditions = { up: undisturbed(), down: undisturbed() };

  /**
   * @param {Target} target
   * @param {Inspect} inspect
   * @param {Certificates} [certificates] has it talk TLS to clients, and ask for their certificate
   */
  constructor(target, inspect, certificates) {
    /** Where new connections lead; those that there are stay. */
    this.target = target;
    /** @type {Set<Link>} */
    this.links = new Set();
    /** When a link ended last. */
    this.lastEnd = 0;
    this.port = 0;
    const accept = (/** @type {net.Socket} */ client) => {
      const to = typeof this.target === "number" ? { port: this.target } : this.target;
      const server = net.connect({ host: "127.0.0.1", noDelay: true, ...to });
      const link = new Link(client, server, inspect, this.#conditions);
      this.links.add(link);
      server.on("close", () => {
        this.lastEnd = Date.now();
        this.links.delete(link);
      });
    };
    this.listener = certificates
      ? tls.createServer(tlsOptions(certificates), accept)
      : net.createServer({ noDelay: true }, accept);
    this.listener.on("tlsClientError", () => {}); // the client is told
  }

  async start(port = 0) {
    this.listener.listen(port, "127.0.0.1");
    await once(this.listener, "listening");
    this.port = /** @type {net.AddressInfo} */ (this.listener.address()).port;
    return this;
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** What a node takes for Redis. */
  get redis() {
    return { host: "127.0.0.1", port: this.port, url: this.url };
  }

  /**
   * Sets the conditions of all links, those to come too.
   *
   * @param {Partial<Conditions>} conditions
   * @param {Direction} [direction] by default both
   */
  set(conditions, direction) {
    for (const each of direction ? [direction] : DIRECTIONS) {
      Object.assign(this.#conditions[each], conditions);
    }
    this.links.forEach((link) => link.set(conditions, direction));
  }

  /** Nothing passes any more, on no link. @param {Direction} [direction] by default both */
  stall(direction) {
    this.set({ stalled: true }, direction);
  }

  /** What came meanwhile passes, and everything again. @param {Direction} [direction] */
  resume(direction) {
    this.set({ stalled: false }, direction);
  }

  /** Each chunk takes so long from now on. @param {number} ms @param {Direction} [direction] */
  delay(ms, direction) {
    this.set({ delay: ms }, direction);
  }

  /** No more passes from now on, on each link. @param {number} bytesPerSecond @param {Direction} [direction] */
  limit(bytesPerSecond, direction) {
    this.set({ bytesPerSecond }, direction);
  }

  /** Cuts all links that there are. */
  cut() {
    this.links.forEach((link) => link.destroy());
  }

  /**
   * Cuts each link that there is when so many more bytes have passed.
   *
   * @param {Direction} direction
   * @param {number} bytes
   */
  cutAfter(direction, bytes) {
    this.links.forEach(({ pipes }) => (pipes[direction].left = bytes));
  }

  /** Cuts all links, and leads elsewhere from now on. @param {Target} target */
  moveTo(target) {
    this.target = target;
    this.cut();
  }

  close() {
    this.cut();
    this.listener.close();
  }
}

/**
 * @param {Target} target
 * @param {Inspect} [inspect]
 * @param {{ port?: number, certificates?: Certificates }} [options] `port` to listen on, by default
 *   any; with `certificates` it talks TLS to clients, and asks for their certificate
 */
function startProxy(target, inspect = () => {}, { port, certificates } = {}) {
  return new TcpProxy(target, inspect, certificates).start(port);
}

module.exports = { startProxy, Link, TcpProxy };

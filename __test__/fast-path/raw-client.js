// Clients that speak Engine.IO 4 and Socket.IO 5 by hand, over WebSocket and over HTTP
// long-polling, and record what the server sends byte by byte.

"use strict";

const { randomBytes } = require("node:crypto");
const http = require("node:http");
const { constants, gunzipSync, inflateRawSync } = require("node:zlib");
const { waitFor } = require("../helpers/wait");

/**
 * @typedef {object} Message a message of Engine.IO, as it came
 * @property {boolean} binary
 * @property {Buffer} bytes without Engine.IO's type
 * @property {string} how what else the wire shows: the first byte of the WebSocket frame in
 * hex, the encoding of the poll that begins with it
 */

/** No context takeover: each message can be inflated alone. */
const DEFLATE = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";
const TAIL = Buffer.from([0, 0, 0xff, 0xff]);
const FLUSH = { finishFlush: constants.Z_SYNC_FLUSH };
/** Separates packets in the body of a poll. */
const SEPARATOR = 0x1e;
/** Begins a binary message in the body of a poll. */
const BASE64 = "b".charCodeAt(0);

class RawClient {
  constructor(/** @type {string} */ url, /** @type {string} */ nsp) {
    this.url = url;
    this.nsp = nsp;
    /** Events, binary ones with their attachments. @type {Message[][]} */
    this.packets = [];
    /** @type {Error | undefined} */
    this.error = undefined;
    this.sid = "";
    /** What the namespace has told with its CONNECT. @type {{ sid: string, pid?: string }} */
    this.session = { sid: "" };
    this.isConnected = false;
    this.closed = false;
    /** Attachments that the last packet still waits for. */
    this.attachments = 0;
    /** Called for each packet that is complete. */
    this.onPacket = () => {};
    /** Called when the server has taken the client out of the namespace. */
    this.onDisconnect = () => {};
  }

  /** What goes to the namespace's packets on the wire. */
  get prefix() {
    return this.nsp === "/" ? "" : `${this.nsp},`;
  }

  /** @param {Message} message */
  onMessage(message) {
    if (this.attachments > 0) {
      this.attachments--;
      this.packets[this.packets.length - 1].push(message);
      return this.#announce();
    }
    const text = message.bytes.toString("latin1");
    if (text.startsWith("0")) {
      this.session = JSON.parse(text.slice(text.indexOf("{")));
      this.isConnected = true;
    } else if (text.startsWith("1")) {
      this.isConnected = false;
      this.onDisconnect();
    } else if (text.startsWith("4")) {
      this.error = new Error(`refused: ${text}`);
    } else {
      this.attachments = Number(/^5(\d+)-/.exec(text)?.[1] ?? 0);
      this.packets.push([message]);
      this.#announce();
    }
  }

  #announce() {
    if (this.attachments === 0) {
      this.onPacket();
    }
  }

  /** @param {Buffer} bytes a packet of Engine.IO: handshake, ping or text message */
  onText(bytes, how = "") {
    const type = String.fromCharCode(bytes[0]);
    if (type === "0") {
      this.sid = JSON.parse(bytes.toString().slice(1)).sid;
    } else if (type === "2") {
      this.send("3");
    } else if (type === "4") {
      this.onMessage({ binary: false, bytes: bytes.subarray(1), how });
    }
  }

  /** @param {string} _packet */
  send(_packet) {}

  /** @param {object} [auth] */
  async connected(auth) {
    await waitFor(() => this.sid || this.error, { what: "the handshake" });
    this.send(`40${this.prefix}${auth === undefined ? "" : JSON.stringify(auth)}`);
    await waitFor(() => this.isConnected || this.error, { what: `the namespace ${this.nsp}` });
    if (this.error) {
      throw this.error;
    }
    return this;
  }

  /** How many packets there are, once all of the last one's attachments are. */
  get complete() {
    return this.packets.length - (this.attachments > 0 ? 1 : 0);
  }
}

class RawWebSocket extends RawClient {
  /** @type {import("node:stream").Duplex | undefined} */
  #socket;
  #received = Buffer.alloc(0);

  /** @param {string} url @param {string} nsp */
  constructor(url, nsp, { deflate = false } = {}) {
    super(url, nsp);
    const request = http.get(`${url}/socket.io/?EIO=4&transport=websocket`, {
      headers: {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": randomBytes(16).toString("base64"),
        ...(deflate ? { "sec-websocket-extensions": DEFLATE } : {}),
      },
    });
    request.on("error", (error) => (this.error = error));
    request.on("upgrade", (_response, socket, head) => {
      this.#socket = socket;
      socket.on("error", (error) => (this.error = error));
      socket.on("data", (/** @type {Buffer} */ data) => this.#read(data));
      this.#read(head);
    });
  }

  /** @param {Buffer} data */
  #read(data) {
    this.#received = Buffer.concat([this.#received, data]);
    for (;;) {
      const frame = parseFrame(this.#received);
      if (!frame) {
        return;
      }
      this.#received = this.#received.subarray(frame.header.length + frame.payload.length);
      this.#onFrame(frame);
    }
  }

  /** @param {{ header: Buffer, payload: Buffer }} frame */
  #onFrame({ header, payload }) {
    const isCompressed = (header[0] & 0x40) !== 0;
    const opcode = header[0] & 0x0f;
    const bytes = isCompressed ? inflateRawSync(Buffer.concat([payload, TAIL]), FLUSH) : payload;
    const how = header.subarray(0, 1).toString("hex");
    if (opcode === 1) {
      this.onText(bytes, how);
    } else if (opcode === 2) {
      this.onMessage({ binary: true, bytes, how });
    } else {
      this.error = new Error(`the server has closed, or sent an unknown frame: ${how} ${bytes}`);
      this.close();
    }
  }

  /** A masked text frame; the mask is zero. @param {string} packet */
  send(packet) {
    const header = [0x81, 0x80 | Buffer.byteLength(packet), 0, 0, 0, 0];
    this.#socket?.write(Buffer.concat([Buffer.from(header), Buffer.from(packet)]));
  }

  close() {
    this.#socket?.destroy();
  }
}

/** @param {Buffer} bytes @returns {{ header: Buffer, payload: Buffer } | undefined} */
function parseFrame(bytes) {
  if (bytes.length < 2) {
    return undefined;
  }
  const short = bytes[1] & 0x7f;
  const header = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (bytes.length < header) {
    return undefined;
  }
  const length =
    short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  if (bytes.length < header + length) {
    return undefined;
  }
  const shortest = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  if (header !== shortest || bytes[1] & 0x80) {
    throw new Error(`a frame's header is odd: ${bytes.subarray(0, header).toString("hex")}`);
  }
  return { header: bytes.subarray(0, header), payload: bytes.subarray(header, header + length) };
}

/** @param {Buffer} body of a poll */
function split(body) {
  const packets = [];
  let start = 0;
  for (let end = body.indexOf(SEPARATOR); end >= 0; end = body.indexOf(SEPARATOR, start)) {
    packets.push(body.subarray(start, end));
    start = end + 1;
  }
  packets.push(body.subarray(start));
  return packets;
}

class RawPolling extends RawClient {
  #agent = new http.Agent({ keepAlive: true });
  #headers;

  /** @param {string} url @param {string} nsp */
  constructor(url, nsp, { gzip = false } = {}) {
    super(url, nsp);
    this.#headers = gzip ? { "accept-encoding": "gzip" } : {};
    this.#poll();
  }

  /** @param {string} [body] @returns {Promise<{ content: Buffer, encoding: string }>} */
  #request(body) {
    const sid = this.sid && `&sid=${this.sid}`;
    return new Promise((resolve, reject) => {
      const request = http.request(
        `${this.url}/socket.io/?EIO=4&transport=polling${sid}`,
        {
          agent: this.#agent,
          method: body === undefined ? "GET" : "POST",
          headers: this.#headers,
        },
        (response) => {
          /** @type {Buffer[]} */
          const chunks = [];
          response.on("data", (chunk) => chunks.push(chunk));
          response.on("end", () => {
            const encoding = response.headers["content-encoding"] ?? "";
            const content = Buffer.concat(chunks);
            resolve({ content: encoding === "gzip" ? gunzipSync(content) : content, encoding });
          });
          response.on("error", reject);
        },
      );
      request.on("error", reject);
      request.end(body);
    });
  }

  async #poll() {
    try {
      while (!this.closed) {
        const { content, encoding } = await this.#request();
        for (const [i, packet] of split(content).entries()) {
          if (packet[0] === BASE64) {
            const bytes = Buffer.from(packet.toString("latin1", 1), "base64");
            this.onMessage({ binary: true, bytes, how: "" });
          } else {
            // How the others travel depends on what is with them in one poll by chance.
            this.onText(packet, i === 0 ? encoding : "");
          }
        }
      }
    } catch (error) {
      this.error = /** @type {Error} */ (error);
    }
  }

  /** @param {string} packet */
  send(packet) {
    this.#request(packet).catch((error) => (this.error = error));
  }

  close() {
    this.closed = true;
    this.#agent.destroy();
  }
}

module.exports = { RawClient, RawWebSocket, RawPolling };

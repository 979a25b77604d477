"use strict";
// Many WebSocket clients in their own process. They do as little as possible: they count frames, and
// parse them only to measure latency.

const { createHash, randomBytes } = require("node:crypto");
const http = require("node:http");

const received = { packets: 0, bytes: 0 };
/** Latencies of packets that hold their time of sending, µs. @type {number[]} */
let latencies = [];
let measuresLatency = false;
/** The connections, the oldest first. @type {import("node:net").Socket[]} */
const open = [];
/** Those that read nothing. @type {import("node:net").Socket[]} */
const stalled = [];

/** @param {string} text */
const frame = (text) =>
  Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);

/** @param {Buffer} payload of an event */
function onEvent(payload) {
  received.packets++;
  if (measuresLatency) {
    const now = process.hrtime.bigint();
    const [, sent] = JSON.parse(payload.toString("latin1", 2));
    latencies.push(Number(now - BigInt(sent)) / 1e3);
  }
}

/** @param {number} port @returns {Promise<void>} resolved when it is connected to "/" */
function connect(port) {
  const key = randomBytes(16).toString("base64");
  return new Promise((resolve, reject) => {
    const request = http.get({
      ...{ host: "127.0.0.1", port, path: "/socket.io/?EIO=4&transport=websocket", agent: false },
      headers: {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": key,
      },
    });
    request.on("error", reject);
    request.on("upgrade", (response, socket, head) => {
      const expected = createHash("sha1")
        .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
        .digest("base64");
      if (response.headers["sec-websocket-accept"] !== expected) {
        return reject(new Error("no WebSocket"));
      }
      socket.on("error", () => {});
      open.push(socket);
      /** @type {(payload: Buffer) => void} */
      const onFrame = (payload) => {
        if (payload[0] === 0x34 && payload[1] === 0x32) {
          onEvent(payload);
        } else if (payload[0] === 0x30) {
          socket.write(frame("40"));
        } else if (payload[0] === 0x32) {
          socket.write(frame("3"));
        } else {
          resolve();
        }
      };
      const read = reader(onFrame);
      read(head);
      socket.on("data", read);
    });
  });
}

/** Splits a byte stream into frames. @param {(payload: Buffer) => void} onFrame */
function reader(onFrame) {
  /** @type {Buffer} */
  let rest = Buffer.alloc(0);
  return (/** @type {Buffer} */ data) => {
    received.bytes += data.length;
    let buffer = rest.length === 0 ? data : Buffer.concat([rest, data]);
    for (;;) {
      const short = buffer.length < 2 ? 0 : buffer[1];
      const header = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (buffer.length < header) {
        break;
      }
      const length =
        short < 126 ? short : short === 126 ? buffer.readUInt16BE(2) : buffer.readUInt32BE(6);
      if (buffer.length < header + length) {
        break;
      }
      onFrame(buffer.subarray(header, header + length));
      buffer = buffer.subarray(header + length);
    }
    rest = buffer;
  };
}

/** @type {Record<string, (argument: any) => any>} */
const orders = {
  async connect({ port, count }) {
    for (let i = 0; i < count; i += 50) {
      await Promise.all(Array.from({ length: Math.min(50, count - i) }, () => connect(port)));
    }
  },
  /** Makes the newest connections read nothing any more. */
  stall({ count }) {
    stalled.push(...open.splice(-count).map((socket) => socket.pause()));
  },
  /** Ends those that read nothing. */
  release() {
    stalled.splice(0).forEach((socket) => socket.destroy());
  },
  packets: () => received.packets,
  measureLatency: () => {
    measuresLatency = true;
    latencies = [];
  },
  latencies: () => {
    const sorted = latencies.sort((a, b) => a - b);
    const at = (/** @type {number} */ share) => sorted[Math.floor(share * (sorted.length - 1))];
    return { count: sorted.length, p50: at(0.5), p99: at(0.99), p999: at(0.999) };
  },
};

process.on("message", async (/** @type {any} */ { id, order, argument }) => {
  process.send?.({ id, answer: await orders[order](argument) });
});
process.on("disconnect", () => process.exit());
process.send?.({ id: 0 });

"use strict";
// Many clients in their own process, over WebSocket, or some over HTTP long-polling. They do as little as
// possible: they count packets, and parse them only to measure latency.

const { createHash, randomBytes } = require("node:crypto");
const http = require("node:http");

const received = { packets: 0, bytes: 0 };
/** Latencies of packets that hold their time of sending, µs. @type {number[]} */
let latencies = [];
let measuresLatency = false;
/** @typedef {{ pause(): any, destroy(): any }} Connection */
/** The connections of the clients in the room "hot". Their latencies are not measured. @type {Connection[]} */
const hot = [];
/** Between two packets in the body of a poll. */
const SEPARATOR = "\x1e";

/** @param {string} text */
const frame = (text) =>
  Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);

/** @param {Buffer} payload of an event @param {boolean} isHot */
function onEvent(payload, isHot) {
  received.packets++;
  if (measuresLatency && !isHot) {
    const now = process.hrtime.bigint();
    const [, sent] = JSON.parse(payload.toString("latin1", 2));
    latencies.push(Number(now - BigInt(sent)) / 1e3);
  }
}

/** @param {string} path @param {boolean} isHot */
const urlOf = (path, isHot) => `/socket.io/?EIO=4${isHot ? "&room=hot" : ""}&transport=${path}`;

/**
 * A client over HTTP long-polling.
 *
 * @param {number} port
 * @returns {Promise<void>} resolved when it is connected to "/"
 */
async function connectPolling(port) {
  const agent = new http.Agent({ keepAlive: true });
  let isPaused = false;
  let sid = "";
  /** @type {(body?: string) => Promise<string>} */
  const send = (body) =>
    new Promise((resolve, reject) => {
      const request = http.request(
        {
          ...{ host: "127.0.0.1", port, agent, method: body === undefined ? "GET" : "POST" },
          path: urlOf("polling", true) + sid,
        },
        (response) => {
          let text = "";
          response.setEncoding("utf8");
          response.on("data", (chunk) => (text += chunk));
          response.on("end", () => resolve(text));
          response.on("error", reject);
        },
      );
      request.on("error", reject);
      request.end(body);
    });
  sid = `&sid=${JSON.parse((await send()).slice(1)).sid}`;
  await send("40");
  await send();
  hot.push({ pause: () => (isPaused = true), destroy: () => agent.destroy() });
  const read = async () => {
    while (!isPaused) {
      const packets = (await send()).split(SEPARATOR);
      received.packets += packets.filter((packet) => packet.startsWith("42")).length;
      if (packets.includes("2")) {
        await send("3");
      }
    }
  };
  read().catch(() => {}); // it was ended
}

/**
 * @param {number} port
 * @param {boolean} [isHot]
 * @returns {Promise<void>} resolved when it is connected to "/"
 */
function connect(port, isHot = false) {
  const key = randomBytes(16).toString("base64");
  return new Promise((resolve, reject) => {
    const request = http.get({
      ...{ host: "127.0.0.1", port, path: urlOf("websocket", isHot), agent: false },
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
      if (isHot) {
        hot.push(socket);
      }
      /** @type {(payload: Buffer) => void} */
      const onFrame = (payload) => {
        if (payload[0] === 0x34 && payload[1] === 0x32) {
          onEvent(payload, isHot);
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
  /** Connects clients in the room "hot", which read, or not. */
  async connectHot({ port, count, transport, isStalled }) {
    for (let i = 0; i < count; i++) {
      await (transport === "polling" ? connectPolling(port) : connect(port, true));
      if (isStalled) {
        hot.at(-1)?.pause();
      }
    }
  },
  /** Ends those. */
  endHot() {
    hot.splice(0).forEach((connection) => connection.destroy());
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

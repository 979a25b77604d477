// A node that receives large packets, and reports how much memory that took at its peak. Started by
// inbox-memory.test.js with the URL of a Redis, the number of packets, and whether a client here gets
// them.

"use strict";

const { Server } = require("socket.io");
const { createAdapter } = require("../..");
const { waitFor } = require("../helpers/wait");

const ROOM = "large";

const collect = /** @type {() => void} */ (globalThis.gc);

/** The highest memory that the process ever had, in bytes. */
const highest = () => process.resourceUsage().maxRSS * 1024;

async function main() {
  const [url, count, isMember] = process.argv.slice(2);
  const io = new Server({ adapter: /** @type {any} */ (createAdapter(url)) });
  const nsp = io.of("/");
  const adapter = /** @type {any} */ (nsp.adapter);
  const send = (/** @type {unknown} */ message) =>
    /** @type {NonNullable<typeof process.send>} */ (process.send)(message);

  let received = 0;
  if (isMember === "true") {
    // Only counts: what a client's connection keeps is not the adapter's. Neither is what nobody needs any
    // more and V8 has not collected yet, which is any number of these packets.
    const writeToEngine = () => {
      received++;
      collect();
    };
    const socket = { id: "counter", client: { writeToEngine } };
    nsp.sockets.set(socket.id, /** @type {any} */ ({ ...socket, notifyOutgoingListeners() {} }));
    adapter.addAll(socket.id, new Set([ROOM]));
  }
  await waitFor(() => adapter.stats().connected, { what: "the connections" });
  const before = highest();
  send("ready");
  await waitFor(() => adapter.stats().read >= Number(count), {
    what: "the packets",
    timeout: 60_000,
  });
  await waitFor(() => adapter.stats().inboxLength === 0, { what: "an empty inbox" });
  send({ bytes: highest() - before, received });
  process.exit();
}

void main();

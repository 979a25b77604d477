// What docs/bundlers.md tells users of PM2: the command starts processes that are nodes of one cluster,
// and with the handler of SIGINT they end by themselves, before PM2 kills them.

"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { join } = require("node:path");
const { after, before, describe, it } = require("node:test");
const { blocksOf, section } = require("../docs/markdown");
const { NAME, exec, folder, pack, project } = require("../helpers/packages");
const { freePort, startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");

const DOCUMENT = "docs/bundlers.md";
const [, COMMAND] = /`pm2 (start [^`]+)`/.exec(section(DOCUMENT, "PM2")) ?? [];
const PROCESSES = Number(/-i (\d+)/.exec(String(COMMAND))?.[1]);
const handler = blocksOf(DOCUMENT).find(({ code }) => code.includes('"SIGINT"'));

const PROGRAM = `
const { Server } = require("socket.io");
const { createAdapter } = require("${NAME}");
const io = new Server(Number(process.env.PORT), {
  transports: ["websocket"],
  adapter: createAdapter(process.env.REDIS_URL),
});
io.on("connection", (socket) => {
  socket.emit("process", process.pid);
  socket.on("say", (words) => io.emit("said", words));
});
process.once("exit", () => require("node:fs").writeFileSync(process.pid + ".ended", ""));
${handler?.code}`;

describe("PM2", () => {
  let cwd = "";
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;
  /** @type {Record<string, string>} */
  let env;

  const pm2 = (/** @type {string[]} */ ...args) =>
    exec(cwd, process.execPath, [join(cwd, "node_modules", "pm2", "bin", "pm2"), ...args], env);

  before(async () => {
    redis = await startRedis();
    const { main, engine } = await pack();
    cwd = await project(main, engine, "pm2@^7.0.4");
    fs.writeFileSync(join(cwd, "server.js"), PROGRAM);
    const port = String(await freePort());
    env = { PM2_HOME: folder("pm2-"), PORT: port, REDIS_URL: redis.url };
  });

  after(async () => {
    await pm2("kill").catch(() => {});
    await redis?.stop();
  });

  it("starts nodes that hear each other, and that end by themselves", async () => {
    await pm2(.../** @type {string} */ (COMMAND).split(" "));
    /** A client of each process. @type {Map<number, import("../helpers/socket-client").SocketClient>} */
    const clients = new Map();
    await waitFor(
      async () => {
        const client = await connectClient(`http://127.0.0.1:${env.PORT}`).catch(() => undefined);
        const [[pid]] = (await client?.receives("process")) ?? [[]];
        if (client && !clients.has(pid)) {
          clients.set(pid, client);
        } else {
          client?.disconnect();
        }
        return clients.size === PROCESSES;
      },
      { what: () => `a client of each process, and not of ${clients.size}` },
    );
    const [first, ...others] = clients.values();
    first.socket.emit("say", "hello");
    for (const client of others) {
      assert.deepEqual(await client.receives("said"), [["hello"]]);
    }
    await pm2("stop", "server");
    const ended = fs.readdirSync(cwd).filter((file) => file.endsWith(".ended"));
    assert.equal(ended.length, PROCESSES, "none was killed");
  });
});

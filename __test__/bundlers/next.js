// Next.js with `output: "standalone"`: a route that emits through the package, deployed as Next.js
// traces it, reaches the clients of a node.

"use strict";

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const { dirname, join } = require("node:path");
const { guard } = require("../helpers/guard");
const { startNode } = require("../helpers/installed-node");
const { env, folder } = require("../helpers/packages");
const { freePort } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");
const { build } = require("./run");

const PACKAGES = ["next", "react", "react-dom"];

const CONFIGURATION = `export default {
  output: "standalone",
  serverExternalPackages: ["socket.io-redis-streams-native"],
};
`;

const SOURCES = {
  "next.config.mjs": CONFIGURATION,
  "app/layout.js": "export default ({ children }) => <html><body>{children}</body></html>;",
  "app/emit/route.js": `import { Emitter } from "socket.io-redis-streams-native";

let emitter;

export async function GET() {
  emitter ??= new Emitter(process.env.REDIS_URL);
  emitter.emit("said", "by Next.js");
  return new Response("emitted");
}
`,
};

/** @param {import("./run").Project} project @param {string} redisUrl */
async function runNext(project, redisUrl) {
  for (const [file, text] of Object.entries(SOURCES)) {
    fs.mkdirSync(dirname(join(project.cwd, file)), { recursive: true });
    fs.writeFileSync(join(project.cwd, file), text);
  }
  await build({ command: "next build", output: ".next" }, project);
  const deployed = folder("next-");
  fs.cpSync(join(project.cwd, ".next", "standalone"), deployed, { recursive: true });

  const port = await freePort();
  const address = { PORT: String(port), HOSTNAME: "127.0.0.1", REDIS_URL: redisUrl };
  const child = spawn(process.execPath, ["server.js"], {
    cwd: deployed,
    env: { ...env, ...address },
    stdio: "ignore",
  });
  const release = guard(child);
  const program = { cwd: project.cwd, program: process.execPath, args: ["server.cjs"] };
  const node = startNode(program, redisUrl);
  try {
    const client = await connectClient(await node.url());
    const emitted = () => fetch(`http://127.0.0.1:${port}/emit`).then(({ ok }) => ok);
    await waitFor(() => emitted().catch(() => false), { what: "an answer of Next.js" });
    await client.receives("said");
    client.disconnect();
    await node.close();
  } finally {
    node.kill();
    child.kill("SIGKILL");
    release();
  }
}

module.exports = { CONFIGURATION, PACKAGES, runNext };

// A private nginx with the configuration of examples/nginx, on free ports.

"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { mkdtempSync, readFileSync, rmSync, writeFileSync } = require("node:fs");
const { connect } = require("node:net");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { installProgram } = require("../../scripts/system-package");
const { guard } = require("../helpers/guard");
const { freePort } = require("../helpers/redis-server");
const { waitFor, within } = require("../helpers/wait");
const { EXAMPLES } = require("./example");

const SITE = join(EXAMPLES, "nginx", "socket.io.conf");
const TEMPORARY = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];

/**
 * @param {string} text
 * @param {string} from must be there
 * @param {string} to
 */
function replaced(text, from, to) {
  assert.ok(text.includes(from), `socket.io.conf has "${from}"`);
  return text.replace(from, to);
}

/**
 * The example's file with other ports, and no long wait until a node that was down is tried again.
 *
 * @param {number} port
 * @param {number[]} nodes their ports
 */
function siteOf(port, nodes) {
  const site = replaced(readFileSync(SITE, "utf8"), "listen 3000;", `listen 127.0.0.1:${port};`);
  return nodes.reduce(
    (text, node, i) =>
      replaced(
        text,
        `127.0.0.1:${3001 + i} max_fails=1 fail_timeout=10s;`,
        `127.0.0.1:${node} max_fails=1 fail_timeout=1s;`,
      ),
    site,
  );
}

/**
 * What the system's nginx.conf has around conf.d, and nothing outside the folder. One process, so
 * that nothing is left of it when that is killed.
 */
function mainConfiguration() {
  const folders = TEMPORARY.map((name) => `${name}_temp_path ${name};`).join("\n  ");
  return `daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  ${folders}
  include socket.io.conf;
}
`;
}

/** @param {number} port */
function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true));
    socket.on("connect", () => socket.destroy());
    socket.on("error", () => resolve(false));
  });
}

/** @param {number[]} nodes the ports of the three nodes */
async function startNginx(nodes) {
  const program = installProgram("nginx");
  const folder = mkdtempSync(join(tmpdir(), "sio-nginx-"));
  const port = await freePort();
  writeFileSync(join(folder, "socket.io.conf"), siteOf(port, nodes));
  writeFileSync(join(folder, "nginx.conf"), mainConfiguration());

  const child = spawn(program, ["-e", "stderr", "-p", folder, "-c", "nginx.conf"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const release = guard(child, folder);
  const exited = new Promise((resolve) => child.once("close", resolve));
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (log += text));
  await waitFor(
    () => {
      assert.equal(child.exitCode, null, log);
      return accepts(port);
    },
    { what: () => `nginx to listen; it wrote:\n${log}` },
  );

  return {
    url: `http://127.0.0.1:${port}`,
    log: () => log,
    async stop() {
      child.kill("SIGTERM");
      await within(exited, "the end of nginx");
      release();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

module.exports = { startNginx };

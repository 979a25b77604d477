// The packed tarballs, installed as users install them: without Rust, from a file or from a registry,
// under our name or upstream's, by npm, pnpm, Yarn 1 and Yarn 4. Each time a message has to cross
// between two nodes, one with `require` and one with `import`.

"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const { join } = require("node:path");
const { after, afterEach, before, describe, it } = require("node:test");
const { SUPPORTED, packageName } = require("../../lib/platform");
const { guard } = require("../helpers/guard");
const { startRegistry } = require("../helpers/npm-registry");
const packages = require("../helpers/packages");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { waitFor, within } = require("../helpers/wait");

const { NAME, ALIAS, PLATFORM, manifest, env, exec, folder, npm, project } = packages;

/** The package managers besides npm, from the npm registry. */
const MANAGERS = ["pnpm@12.20.0", "yarn@1.22.22", "@yarnpkg/cli-dist@4.18.1"];

/** How a program of Node.js is started in a project. */
const NODE = [process.execPath];

/** The package that docs/upgrading.md installs to go back to upstream. */
const [, ROLLBACK] =
  /^npm install (@socket\.io\/redis-streams-adapter@[\d.]+)$/m.exec(
    fs.readFileSync(join(packages.ROOT, "docs", "upgrading.md"), "utf8"),
  ) ?? [];
assert(ROLLBACK, "docs/upgrading.md names what to install to go back");

const BODY = `
const io = new Server(0, { adapter: createAdapter(process.env.REDIS_URL) });
io.on("connection", (socket) => {
  socket.on("say", (words) => io.emit("said", words));
});
io.httpServer.on("listening", () => console.log("port " + io.httpServer.address().port));
process.stdin.on("end", () => io.close()).resume();
`;

const SOURCES = {
  cjs: (/** @type {string} */ name) => `
    const { Server } = require("socket.io");
    const { createAdapter } = require("${name}");
    ${BODY}`,
  mjs: (/** @type {string} */ name) => `
    import { Server } from "socket.io";
    import { createAdapter } from "${name}";
    ${BODY}`,
};

/** Those that a test which failed has left running. @type {Set<import("node:child_process").ChildProcess>} */
const running = new Set();

afterEach(() => running.forEach((child) => child.kill("SIGKILL")));

/**
 * @param {string} cwd folder of the project
 * @param {keyof typeof SOURCES} format
 * @param {string} name by which the package was installed
 * @param {{ redisUrl: string, node: string[] }} options
 */
async function startNode(cwd, format, name, { redisUrl, node: [program, ...args] }) {
  const file = join(cwd, `node.${format}`);
  fs.writeFileSync(file, SOURCES[format](name));
  const child = spawn(program, [...args, file], { cwd, env: { ...env, REDIS_URL: redisUrl } });
  const release = guard(child);
  running.add(child);
  child.once("exit", () => running.delete(child));
  const exited = new Promise((resolve) => child.once("exit", resolve));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => (output += text));
  }
  const port = await waitFor(
    () => {
      assert.equal(child.exitCode, null, output);
      return /^port (\d+)$/m.exec(output)?.[1];
    },
    { what: () => `the port in: ${output}` },
  );
  return {
    url: `http://127.0.0.1:${port}`,
    /** Ends by itself once its server is closed. */
    async close() {
      child.stdin.end();
      assert.equal(await within(exited, "the node's end"), 0, output);
      release();
    },
  };
}

/**
 * The engines that are in a project's node_modules.
 *
 * @param {string} cwd
 */
function enginesIn(cwd) {
  const installed = fs.readdirSync(join(cwd, "node_modules"));
  return installed.filter((name) => name.startsWith(packageName("")));
}

/** @type {import("../helpers/redis-server").RedisServer} */
let redis;

before(async () => {
  redis = await startRedis();
});

after(() => redis?.stop());

/**
 * Two nodes in the project, one with `require`, one with `import`, and a message in each direction.
 *
 * @param {string} cwd
 * @param {string} name
 * @param {string[]} [node]
 */
async function messagesCross(cwd, name, node = NODE) {
  const options = { redisUrl: redis.url, node };
  const nodes = await Promise.all([
    startNode(cwd, "cjs", name, options),
    startNode(cwd, "mjs", name, options),
  ]);
  const [a, b] = await Promise.all(nodes.map((each) => connectClient(each.url)));
  a.socket.emit("say", "from a");
  await b.receives("said");
  b.socket.emit("say", "from b");
  const words = (await a.receives("said", 2)).map(([said]) => said);
  assert.deepEqual(words, ["from a", "from b"]);
  a.disconnect();
  b.disconnect();
  await Promise.all(nodes.map((each) => each.close()));
}

describe("the tarballs from a folder", () => {
  /** @type {import("../helpers/packages").Tarballs} */
  let tarballs;
  /** A project with them. */
  let plain = "";

  before(async () => {
    tarballs = await packages.pack();
    plain = await project(tarballs.main, tarballs.engine);
  });

  it("work in an empty project without Rust", async () => {
    await messagesCross(plain, NAME);
  });

  it("give a project whose lock file `npm ci` accepts", async () => {
    await npm(plain, ["ci"]);
    await messagesCross(plain, NAME);
  });

  it("work under upstream's name", async () => {
    const cwd = await project(`${ALIAS}@file:${tarballs.main}`, tarballs.engine);
    assert.equal(require(join(cwd, "node_modules", ALIAS, "package.json")).name, NAME);
    await messagesCross(cwd, ALIAS);
  });

  it("work by the binary that SOCKET_IO_REDIS_STREAMS_NATIVE_PATH names", async () => {
    const cwd = await project(tarballs.main);
    const [engine] = enginesIn(cwd);
    assert.equal(engine, undefined, "the package alone");
    const unpacked = await packages.unpack(tarballs.engine);
    const { main } = require(join(unpacked, "package.json"));
    const variable = `SOCKET_IO_REDIS_STREAMS_NATIVE_PATH=${join(unpacked, main)}`;
    await messagesCross(cwd, NAME, ["/usr/bin/env", variable, ...NODE]);
  });
});

describe("the packages from a registry", () => {
  /** @type {Awaited<ReturnType<typeof startRegistry>>} */
  let registry;
  /** Where the other package managers are. */
  let managers = "";

  before(async () => {
    registry = await startRegistry(await packages.pack("--for-registry"));
    managers = folder("managers-");
    await npm(managers, ["install", "--prefix", managers, ...MANAGERS]);
  });

  after(() => registry?.stop());

  for (const platform of SUPPORTED) {
    it(`npm installs one engine for ${platform}`, async () => {
      const [os, cpu, abi] = platform.split("-");
      const libc = { gnu: "glibc", musl: "musl" }[abi ?? ""];
      const cwd = folder("project-");
      fs.writeFileSync(join(cwd, "package.json"), "{}");
      const target = [`--os=${os}`, `--cpu=${cpu}`, ...(libc ? [`--libc=${libc}`] : [])];
      await npm(cwd, ["install", `--registry=${registry.url}`, ...target, NAME]);
      assert.deepEqual(enginesIn(cwd), [packageName(platform)]);
    });
  }

  /** @typedef {(cwd: string, added: string[]) => Promise<unknown>} Install */

  /** @type {(file: string) => string[]} */
  const program = (file) => [process.execPath, join(managers, "node_modules", file)];
  /** @type {(cwd: string, command: string[], args: string[]) => Promise<unknown>} */
  const execute = (cwd, [node, ...args], more) => exec(cwd, node, [...args, ...more]);
  /** @type {(linker: string) => Install} */
  const withYarn4 = (linker) => (cwd, added) => {
    const settings = [`nodeLinker: ${linker}`, `npmRegistryServer: ${registry.url}`];
    settings.push("unsafeHttpWhitelist: ['127.0.0.1']", "enableGlobalCache: false");
    settings.push("enableTelemetry: false", "pnpEnableEsmLoader: true");
    fs.writeFileSync(join(cwd, ".yarnrc.yml"), `${settings.join("\n")}\n`);
    fs.writeFileSync(join(cwd, "yarn.lock"), "");
    return execute(cwd, program("@yarnpkg/cli-dist/bin/yarn.js"), ["add", ...added]);
  };

  const PLUG_AND_PLAY = ["--require", "./.pnp.cjs", "--loader", "./.pnp.loader.mjs"];
  /** @type {[string, Install, string[]?, string[]?][]} */
  const installs = [
    ["npm", (cwd, added) => npm(cwd, ["install", `--registry=${registry.url}`, ...added])],
    [
      "pnpm",
      (cwd, added) => {
        const options = [`--registry=${registry.url}`, `--store-dir=${join(cwd, ".store")}`];
        return execute(cwd, program("pnpm/bin/pnpm.mjs"), ["add", ...options, ...added]);
      },
    ],
    [
      "Yarn 1",
      (cwd, added) => {
        const options = ["--registry", registry.url, "--cache-folder", join(cwd, ".cache")];
        return execute(cwd, program("yarn/bin/yarn.js"), ["add", ...options, ...added]);
      },
    ],
    ["Yarn 4", withYarn4("node-modules")],
    // A package may load there only what it or the project names. Upstream's adapter too needs
    // socket.io-adapter then.
    ["Yarn 4 with Plug'n'Play", withYarn4("pnp"), ["socket.io-adapter"], PLUG_AND_PLAY],
  ];
  for (const [manager, install, more = [], flags = []] of installs) {
    it(`${manager} installs what works, under upstream's name, and takes it back`, async () => {
      const cwd = folder("project-");
      fs.writeFileSync(join(cwd, "package.json"), '{ "private": true }');
      const ours = `${ALIAS}@npm:${NAME}@${manifest.version}`;
      await install(cwd, ["socket.io@^4.8.0", ours, ...more]);
      await messagesCross(cwd, ALIAS, [...NODE, ...flags]);

      await install(cwd, [ROLLBACK]);
      const name = `console.log(require("${ALIAS}/package.json").name)`;
      const { stdout } = await exec(cwd, process.execPath, [...flags, "--eval", name]);
      assert.equal(stdout.trim(), ALIAS);
    });
  }
});

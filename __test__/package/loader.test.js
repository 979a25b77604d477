// What `require` says where the engine cannot be loaded, and how the loader knows which one it needs.

"use strict";

const assert = require("node:assert/strict");
const { execFile } = require("node:child_process");
const fs = require("node:fs");
const { join } = require("node:path");
const { before, describe, it } = require("node:test");
const { promisify } = require("node:util");
const { interpreter } = require("../../lib/libc");
const { SUPPORTED, binaryName, packageName } = require("../../lib/platform");
const packages = require("../helpers/packages");

const { ROOT, NAME, PLATFORM, manifest, env } = packages;

const exec = promisify(execFile);

/** The package alone, as it is installed where the engine's package was left out. */
let project = "";
/** What `npm run pack` has made of this platform's package. */
let engine = "";
/** Where the project would have it. */
let engineFolder = "";

before(async () => {
  const tarballs = await packages.pack();
  project = await packages.project(tarballs.main);
  engine = await packages.unpack(tarballs.engine);
  engineFolder = join(project, "node_modules", packageName(PLATFORM));
});

/**
 * Loads the package in a process of its own, which must fail.
 *
 * @param {object} [options]
 * @param {string} [options.first] code to run before
 * @param {string} [options.node] the program
 * @param {Record<string, string>} [options.variables] of the environment
 * @returns {Promise<{ code: string, message: string, hasCause: boolean }>}
 */
async function loadError({ first = "", node = process.execPath, variables = {} } = {}) {
  const script = `${first}
    try {
      require("${NAME}");
    } catch ({ code, message, cause }) {
      console.log(JSON.stringify({ code, message, hasCause: cause instanceof Error }));
    }`;
  const options = { cwd: project, env: { ...env, ...variables } };
  const { stdout } = await exec(node, ["-e", script], options);
  assert.notEqual(stdout, "", "the package loaded");
  const error = JSON.parse(stdout);
  assert.equal(error.code, "ERR_SIO_REDIS_NATIVE");
  return error;
}

/**
 * Code that makes a process take itself for one on another platform.
 *
 * @param {{ platform?: string, arch?: string }} values
 */
const pretend = (values) =>
  Object.entries(values)
    .map(([key, value]) => `Object.defineProperty(process, "${key}", { value: "${value}" });`)
    .join("\n");

describe("a platform without an engine", () => {
  for (const other of [{ arch: "ppc64" }, { platform: "freebsd", arch: "x64" }]) {
    it(`is named with those that have one: ${Object.values(other).join("-")}`, async () => {
      const { message, hasCause } = await loadError({ first: pretend(other) });
      const { platform = process.platform, arch } = other;
      assert.match(message, new RegExp(`There is no engine for ${platform}-${arch}\\b`));
      SUPPORTED.forEach((each) => assert.ok(message.includes(each), each));
      assert.match(message, /npm run build.*NAPI_RS_NATIVE_LIBRARY_PATH/);
      assert.equal(hasCause, true);
    });
  }
});

describe("an engine that cannot be loaded", () => {
  /** @param {{ version: string, binary: string | Buffer }} content */
  function installEngine({ version, binary }) {
    fs.rmSync(engineFolder, { recursive: true, force: true });
    fs.mkdirSync(engineFolder);
    const main = binaryName(PLATFORM);
    fs.writeFileSync(join(engineFolder, "package.json"), JSON.stringify({ version, main }));
    fs.writeFileSync(join(engineFolder, main), binary);
  }

  it("was left out: the command adds it", async () => {
    const { message, hasCause } = await loadError();
    const command = `npm install ${packageName(PLATFORM)}@${manifest.version}`;
    assert.ok(message.includes(command), message);
    assert.match(message, /--omit=optional/);
    assert.equal(hasCause, true);
  });

  it("is refused by the system: the cause says why", async (t) => {
    t.after(() => fs.rmSync(engineFolder, { recursive: true }));
    installEngine({ version: manifest.version, binary: "no shared library" });
    const { message, hasCause } = await loadError();
    assert.match(message, new RegExp(`${PLATFORM}.*cannot be loaded: .+`));
    assert.equal(hasCause, true);
  });

  it("is of another version, by its package", async (t) => {
    t.after(() => fs.rmSync(engineFolder, { recursive: true }));
    installEngine({ version: "0.0.1", binary: "" });
    const { message } = await loadError();
    assert.match(message, new RegExp(`0\\.0\\.1.*${manifest.version} is needed`));
    assert.match(message, new RegExp(`npm install ${packageName(PLATFORM)}@${manifest.version}`));
  });

  it("is of another version, by itself", async (t) => {
    const file = join(project, "node_modules", NAME, "package.json");
    const text = fs.readFileSync(file, "utf8");
    t.after(() => fs.writeFileSync(file, text));
    fs.writeFileSync(file, JSON.stringify({ ...JSON.parse(text), version: "9.9.9" }));
    const variables = { NAPI_RS_NATIVE_LIBRARY_PATH: join(engine, binaryName(PLATFORM)) };
    const { message } = await loadError({ variables });
    assert.match(message, new RegExp(`version ${manifest.version}, but version 9\\.9\\.9`));
  });
});

describe("NAPI_RS_NATIVE_LIBRARY_PATH", () => {
  it("is named with its file where that cannot be loaded", async () => {
    const path = join(project, "missing.node");
    const { message, hasCause } = await loadError({
      variables: { NAPI_RS_NATIVE_LIBRARY_PATH: path },
    });
    assert.match(message, /NAPI_RS_NATIVE_LIBRARY_PATH names, .*missing\.node, cannot be loaded/);
    assert.equal(hasCause, true);
  });

  it("is not taken for ours when it names another package's addon", async () => {
    const path = join(project, "another.js");
    fs.writeFileSync(path, "exports.hello = () => {};");
    const { message } = await loadError({ variables: { NAPI_RS_NATIVE_LIBRARY_PATH: path } });
    assert.match(message, /another\.js, is another addon/);
  });
});

describe("musl and glibc", { skip: process.platform !== "linux" }, () => {
  const x64 = pretend({ platform: "linux", arch: "x64" });
  const NO_PROC = `
    const fs = require("node:fs");
    const { openSync } = fs;
    fs.openSync = (path, ...rest) => {
      if (String(path).startsWith("/proc/")) {
        throw new Error("NotCapable");
      }
      return openSync(path, ...rest);
    };`;
  const missing = (/** @type {string} */ libc) =>
    new RegExp(`the package ${NAME}-linux-x64-${libc} is missing`);

  it("are told apart by the loader that a program asks for", () => {
    const own = interpreter(process.execPath) ?? "";
    assert.match(own, PLATFORM.endsWith("-musl") ? /\/ld-musl-/ : /\/ld-linux-/);
    const script = join(ROOT, "index.js");
    assert.equal(interpreter(script), undefined, "no program");
    assert.equal(interpreter(join(engine, binaryName(PLATFORM))), undefined, "a library");
  });

  // As in Deno on Alpine, whose report named a glibc.
  it("are told apart by it rather than by the report", async (t) => {
    if (!PLATFORM.endsWith("-gnu")) {
      return t.skip("the report is right on musl");
    }
    const loader = interpreter(process.execPath) ?? "";
    // A Node.js that asks for a loader of another name, which leads to the same one.
    const folder = fs.mkdtempSync("/tmp/m-");
    t.after(() => fs.rmSync(folder, { recursive: true }));
    const renamed = join(folder, "ld-musl-x");
    assert.ok(renamed.length <= loader.length, "it has to fit into its place");
    fs.symlinkSync(loader, renamed);
    const program = fs.readFileSync(process.execPath);
    program.write(renamed.padEnd(loader.length, "\0"), program.indexOf(`${loader}\0`), "latin1");
    const node = join(folder, "node");
    fs.writeFileSync(node, program, { mode: 0o755 });

    const report = "console.log(process.report.getReport().header.glibcVersionRuntime)";
    const { stdout } = await exec(node, ["-e", report]);
    assert.match(stdout, /^2\.\d+/, "its report names a glibc");
    assert.match((await loadError({ node, first: x64 })).message, missing("musl"));
  });

  it("are told apart by the report where /proc cannot be read", async () => {
    const reports = { gnu: '{ header: { glibcVersionRuntime: "2.28" } }', musl: "{ header: {} }" };
    for (const [libc, report] of Object.entries(reports)) {
      const first = `${x64}${NO_PROC} process.report.getReport = () => (${report});`;
      assert.match((await loadError({ first })).message, missing(libc), libc);
    }
  });

  it("are taken for glibc where there is no report either", async () => {
    const values = ["undefined", '{ getReport() { throw new Error("NotCapable"); } }'];
    for (const value of values) {
      const first = `Object.defineProperty(process, "report", { value: ${value} });`;
      assert.match((await loadError({ first: x64 + NO_PROC + first })).message, missing("gnu"));
    }
  });
});

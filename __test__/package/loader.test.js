// What `require` says where the engine cannot be loaded, and how the loader knows which one it needs.

"use strict";

const assert = require("node:assert/strict");
const { execFile } = require("node:child_process");
const fs = require("node:fs");
const { join } = require("node:path");
const { before, describe, it } = require("node:test");
const { promisify } = require("node:util");
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
 * @param {string[]} [options.flags] of the program
 * @param {Record<string, string>} [options.variables] of the environment
 * @returns {Promise<{ code: string, message: string, hasCause: boolean }>}
 */
async function loadError({ first = "", node = process.execPath, flags = [], variables = {} } = {}) {
  const script = `${first}
    try {
      require("${NAME}");
    } catch ({ code, message, cause }) {
      console.log(JSON.stringify({ code, message, hasCause: cause instanceof Error }));
    }`;
  const options = { cwd: project, env: { ...env, ...variables } };
  const { stdout } = await exec(node, [...flags, "-e", script], options);
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
      assert.match(message, /npm run build.*SOCKET_IO_REDIS_STREAMS_NATIVE_PATH/);
      assert.match(message, /@socket\.io\/redis-streams-adapter.* work in one cluster/);
      assert.equal(hasCause, false);
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

  it("was left out: the command brings it back", async () => {
    const { message, hasCause } = await loadError();
    assert.ok(message.includes(`the package ${packageName(PLATFORM)} is missing`), message);
    assert.match(message, /--omit=optional.*`npm install --include=optional`/);
    assert.equal(hasCause, true);
  });

  it("is refused by the system: the cause says why", async (t) => {
    t.after(() => fs.rmSync(engineFolder, { recursive: true }));
    installEngine({ version: manifest.version, binary: "no shared library" });
    const { message, hasCause } = await loadError();
    assert.match(message, new RegExp(`${PLATFORM}.*cannot be loaded: .+`));
    assert.equal(hasCause, true);
  });

  it("may not be loaded: the flags that forbid it and allow it are named", async (t) => {
    t.after(() => fs.rmSync(engineFolder, { recursive: true }));
    installEngine({ version: manifest.version, binary: "" });
    const { message } = await loadError({ flags: ["--no-addons"] });
    assert.match(
      message,
      /may not load addons\. With --permission, add --allow-addons; .*--no-addons/,
    );
  });

  it("is of another version", async (t) => {
    t.after(() => fs.rmSync(engineFolder, { recursive: true }));
    installEngine({
      version: manifest.version,
      binary: fs.readFileSync(join(engine, binaryName(PLATFORM))),
    });
    const file = join(project, "node_modules", NAME, "package.json");
    const text = fs.readFileSync(file, "utf8");
    t.after(() => fs.writeFileSync(file, text));
    fs.writeFileSync(file, JSON.stringify({ ...JSON.parse(text), version: "9.9.9" }));
    const { message } = await loadError();
    assert.match(message, new RegExp(`version ${manifest.version}, but version 9\\.9\\.9`));
    assert.match(message, new RegExp(`npm install ${packageName(PLATFORM)}@9\\.9\\.9`));
  });
});

describe("SOCKET_IO_REDIS_STREAMS_NATIVE_PATH", () => {
  it("is named with its file where that cannot be loaded", async () => {
    const path = join(project, "missing.node");
    const { message, hasCause } = await loadError({
      variables: { SOCKET_IO_REDIS_STREAMS_NATIVE_PATH: path },
    });
    assert.match(
      message,
      /SOCKET_IO_REDIS_STREAMS_NATIVE_PATH names, .*missing\.node, cannot be loaded/,
    );
    assert.equal(hasCause, true);
  });

  it("is not taken for ours when it names another package's addon", async (t) => {
    const folder = join(ROOT, "node_modules", "@napi-rs");
    const [addon] = fs
      .readdirSync(folder, { recursive: true })
      .map((file) => join(folder, String(file)))
      .filter((file) => file.endsWith(`.${PLATFORM}.node`));
    assert.ok(addon, "@napi-rs/cli brings an addon");
    const { message } = await loadError({
      variables: { SOCKET_IO_REDIS_STREAMS_NATIVE_PATH: addon },
    });
    assert.match(message, /\.node, is another addon/);
  });
});

describe("napi-rs's NAPI_RS_NATIVE_LIBRARY_PATH", () => {
  // It is for all packages of a process: whoever needs it for another one must not lose ours.
  it("does not say which engine to load", async () => {
    const variables = { NAPI_RS_NATIVE_LIBRARY_PATH: join(project, "of-another-package.node") };
    const { message } = await loadError({ variables });
    assert.match(message, /is not installed/);
  });
});

describe("a bundle without the engine", () => {
  /** As bundlers do, the code stands in a file of another name. @param {string} file */
  async function errorOf(file) {
    const lib = join(project, "node_modules", NAME, "lib");
    fs.copyFileSync(join(lib, "native.js"), join(lib, file));
    const script = `try { require("./${file}"); } catch ({ code, message }) {
      console.log(JSON.stringify({ code, message }));
    }`;
    const { stdout } = await exec(process.execPath, ["-e", script], { cwd: lib, env });
    return JSON.parse(stdout);
  }

  it("is told from an installation without it, and what to mark as external is said", async () => {
    const { code, message } = await errorOf("bundle.js");
    assert.equal(code, "ERR_SIO_REDIS_NATIVE");
    assert.match(message, new RegExp(`Mark "${NAME}" as external.*--external:${NAME}`));
    assert.doesNotMatch(message, /is not installed/);
  });
});

describe("musl and glibc", { skip: process.platform !== "linux" }, () => {
  const x64 = pretend({ platform: "linux", arch: "x64" });

  for (const [family, libc] of [
    ['"musl"', "musl"],
    ['"glibc"', "gnu"],
    ["null", "gnu"],
  ]) {
    it(`have packages of their own: ${family}`, async () => {
      const first = `${x64} require("detect-libc").familySync = () => ${family};`;
      const { message } = await loadError({ first });
      assert.match(message, new RegExp(`the package ${NAME}-linux-x64-${libc} is missing`));
    });
  }
});

describe("Socket.IO before 4.6", () => {
  /** @param {string[]} installed */
  async function errorWith(...installed) {
    const cwd = packages.folder("old-");
    fs.writeFileSync(join(cwd, "package.json"), '{ "private": true }');
    await packages.npm(cwd, ["install", "--legacy-peer-deps", ...installed]);
    const script = `
      const { Server } = require("socket.io");
      try {
        new Server({ adapter: require("${NAME}").createAdapter("redis://127.0.0.1:1") });
      } catch ({ code, message }) {
        console.log(JSON.stringify({ code, message }));
      }`;
    const { stdout } = await exec(process.execPath, ["-e", script], { cwd, env });
    return JSON.parse(stdout);
  }

  for (const [title, ...more] of [
    ["with the adapter that comes with it"],
    ["with a newer adapter beside it", "socket.io-adapter@2.5.5"],
  ]) {
    it(`is refused ${title}`, async () => {
      const { main, engine } = await packages.pack();
      const { code, message } = await errorWith("socket.io@4.5", main, engine, ...more);
      assert.equal(code, "ERR_SIO_REDIS_SOCKET_IO");
      assert.match(message, /needs Socket\.IO 4\.6 or newer.*`npm install socket\.io@4`/);
    });
  }
});

// Every place that lists the platforms, or says which version this is, says the same.

"use strict";

const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const { copyFileSync, mkdtempSync, readFileSync, readdirSync, rmSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { describe, it } = require("node:test");
const { SUPPORTED, binaryName, packageName } = require("../../lib/platform");
const { TARGETS } = require("../../scripts/targets");

const ROOT = join(__dirname, "..", "..");
/** @type {Record<string, any>} */
const manifest = require("../../package.json");

/** @param {string} file */
const text = (file) => readFileSync(join(ROOT, file), "utf8");

/**
 * @param {string} toml
 * @param {RegExp} section the line that it begins with, and what identifies it
 */
function versionIn(toml, section) {
  const [, after] = toml.split(section);
  return /^version = "(.*)"$/m.exec(after)?.[1];
}

describe("the platforms", () => {
  it("that the loader knows have a package each under npm/", () => {
    assert.deepEqual(readdirSync(join(ROOT, "npm")).sort(), [...SUPPORTED].sort());
  });

  it("have a target that package.json tells napi of", () => {
    assert.deepEqual(Object.keys(TARGETS).sort(), [...SUPPORTED].sort());
    assert.deepEqual(manifest.napi.targets, Object.values(TARGETS));
    assert.equal(manifest.napi.packageName, manifest.name);
    assert.equal(packageName("x"), `${manifest.napi.packageName}-x`);
    assert.equal(binaryName("x"), `${manifest.napi.binaryName}.x.node`);
  });

  it("have packages as napi makes them out of package.json", (t) => {
    const folder = mkdtempSync(join(tmpdir(), "sio-npm-dirs-"));
    t.after(() => rmSync(folder, { recursive: true }));
    copyFileSync(join(ROOT, "package.json"), join(folder, "package.json"));
    const napi = join(ROOT, "node_modules", "@napi-rs", "cli", "dist", "cli.js");
    execFileSync(process.execPath, [napi, "create-npm-dirs"], { cwd: folder });
    for (const platform of SUPPORTED) {
      for (const file of ["package.json", "README.md"]) {
        const path = join("npm", platform, file);
        assert.equal(text(path), readFileSync(join(folder, path), "utf8"), path);
      }
    }
  });

  // What napi makes is compared above; this is what package managers choose by.
  for (const platform of SUPPORTED) {
    it(`${platform}: its package is installed there only`, () => {
      const { name, main, files, ...theirs } = require(`../../npm/${platform}/package.json`);
      const [os, cpu, abi = ""] = platform.split("-");
      /** @type {Record<string, string[]>} */
      const libcs = { gnu: ["glibc"], musl: ["musl"] };
      assert.equal(name, packageName(platform));
      assert.deepEqual([main, files], [binaryName(platform), [binaryName(platform)]]);
      assert.deepEqual([theirs.os, theirs.cpu, theirs.libc], [[os], [cpu], libcs[abi]]);
    });
  }
});

describe("the version", () => {
  for (const platform of SUPPORTED) {
    it(`is the same in npm/${platform}`, () => {
      assert.equal(require(`../../npm/${platform}/package.json`).version, manifest.version);
    });
  }

  it("is the same in package-lock.json", () => {
    const { version, packages } = JSON.parse(text("package-lock.json"));
    assert.deepEqual([version, packages[""].version], [manifest.version, manifest.version]);
  });

  it("is the same in Cargo.toml and what is locked with it", () => {
    assert.equal(versionIn(text("Cargo.toml"), /^\[package\]$/m), manifest.version);
    const locked = /^name = "socket-io-redis-streams-native"$/m;
    assert.equal(versionIn(text("Cargo.lock"), locked), manifest.version);
    assert.equal(versionIn(text("fuzz/Cargo.lock"), locked), manifest.version);
  });

  it("is that of the engine that was built", () => {
    assert.equal(require("../../lib/native").VERSION, manifest.version);
  });
});

describe("the engine's build", () => {
  // A panic is turned into an error, or ends one task: with "abort" it would end the process.
  it("unwinds panics", () => {
    const [, profile] = text("Cargo.toml").split(/^\[profile\.release\]$/m);
    assert.match(profile, /^lto = "fat"$/m);
    assert.doesNotMatch(profile, /^panic\b/m);
  });
});

// What is in the tarballs of `npm run pack`: the files, their size, the manifest, what the engine asks
// of the system, and what publint and "Are the types wrong?" say about it.

"use strict";

const assert = require("node:assert/strict");
const { execFile } = require("node:child_process");
const fs = require("node:fs");
const { join } = require("node:path");
const { before, describe, it } = require("node:test");
const { promisify } = require("node:util");
const { SUPPORTED, binaryName, packageName } = require("../../lib/platform");
const { OLDEST_GLIBC, glibcNeeded, runsOnOldestGlibc } = require("../../scripts/glibc");
const { ROOT, PLATFORM, manifest, pack, packedManifest, unpack } = require("../helpers/packages");

const exec = promisify(execFile);

/** What is in the package itself, beside the modules in `lib`: a line per file. */
const CONTENTS = join(__dirname, "contents.txt");

/** Bytes, unpacked: of the engine, and of everything else. */
const MOST_ENGINE = 6_000_000;
const MOST_REST = 500_000;

/**
 * @param {string} root
 * @returns {string[]} the files below it, sorted
 */
function filesIn(root) {
  return fs
    .readdirSync(root, { recursive: true })
    .map(String)
    .filter((file) => fs.statSync(join(root, file)).isFile())
    .map((file) => file.replaceAll("\\", "/"))
    .sort();
}

/** @param {string} root */
function sizeOf(root) {
  const sizes = filesIn(root).map((file) => fs.statSync(join(root, file)).size);
  return sizes.reduce((sum, size) => sum + size, 0);
}

describe("the packed tarballs", () => {
  /** @type {import("../helpers/packages").Tarballs} */
  let tarballs;
  /** The folders they unpack to. */
  let main = "";
  let engine = "";

  before(async () => {
    tarballs = await pack();
    main = await unpack(tarballs.main);
    engine = await unpack(tarballs.engine);
  });

  it("hold what users need and nothing else", () => {
    const modules = filesIn(join(ROOT, "lib")).filter((file) => file.endsWith(".js"));
    const others = fs.readFileSync(CONTENTS, "utf8").trim().split("\n");
    const expected = [...others, ...modules.map((file) => `lib/${file}`)].sort();
    assert.deepEqual(filesIn(main), expected);
    assert.deepEqual(
      filesIn(engine),
      [
        "LICENSE",
        "README.md",
        "THIRD-PARTY-NOTICES.txt",
        "package.json",
        binaryName(PLATFORM),
      ].sort(),
    );
  });

  it("are small", () => {
    const binary = fs.statSync(join(engine, binaryName(PLATFORM))).size;
    assert.ok(binary <= MOST_ENGINE, `the engine has ${binary} bytes`);
    assert.ok(sizeOf(main) <= MOST_REST, `the package has ${sizeOf(main)} bytes`);
  });

  it(`ask for glibc ${OLDEST_GLIBC} at most`, { skip: !PLATFORM.endsWith("-gnu") }, () => {
    const binary = join(engine, binaryName(PLATFORM));
    assert.ok(runsOnOldestGlibc(binary), `it asks for glibc ${glibcNeeded(binary)}`);
  });

  it("leave the developers' part out of package.json and have the engines as optional peers", async () => {
    const { peerDependencies, peerDependenciesMeta, ...packed } = await packedManifest(
      tarballs.main,
    );
    const names = SUPPORTED.map(packageName);
    assert.deepEqual(peerDependencies, {
      ...manifest.peerDependencies,
      ...Object.fromEntries(names.map((name) => [name, manifest.version])),
    });
    assert.deepEqual(peerDependenciesMeta, {
      ...manifest.peerDependenciesMeta,
      ...Object.fromEntries(names.map((name) => [name, { optional: true }])),
    });
    assert.equal(packed.optionalDependencies, undefined);
    for (const key of ["scripts", "devDependencies", "napi", "overrides"]) {
      assert.equal(packed[key], undefined, key);
    }
    for (const key of Object.keys(packed)) {
      assert.deepEqual(packed[key], manifest[key], key);
    }
    for (const key of ["name", "version", "exports", "dependencies"]) {
      assert.ok(packed[key], key);
    }
  });

  it("name all engines for a registry", async () => {
    const { optionalDependencies, peerDependencies } = await packedManifest(
      (await pack("--for-registry")).main,
    );
    assert.deepEqual(peerDependencies, manifest.peerDependencies);
    const all = SUPPORTED.map((platform) => [packageName(platform), manifest.version]);
    assert.deepEqual(optionalDependencies, Object.fromEntries(all));
  });

  it("have entries for every file that package.json exports", () => {
    const text = JSON.stringify([manifest.main, manifest.types, manifest.exports]);
    const named = [...text.matchAll(/"(?:\.\/)?([^".][^"]*\.[a-z]+)"/g)].map(([, file]) => file);
    assert.ok(named.includes("index.js") && named.includes("index.d.ts"), text);
    named.forEach((file) => assert.ok(fs.existsSync(join(main, file)), file));
  });

  it("have nothing that publint finds fault with", async () => {
    const { publint } = await import("publint");
    const { buffer } = new Uint8Array(fs.readFileSync(tarballs.main));
    const { messages } = await publint({ pack: { tarball: buffer }, strict: true });
    assert.deepEqual(messages, []);
  });

  it("have types that are not wrong in any kind of resolution", async () => {
    const attw = fs.realpathSync(join(ROOT, "node_modules", ".bin", "attw"));
    await exec(process.execPath, [attw, tarballs.main, "--no-color"], { cwd: ROOT }).catch(
      ({ stdout, stderr }) => assert.fail(stdout + stderr),
    );
  });
});

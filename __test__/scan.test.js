// The scanners of `npm run scan` find what they are for. `.ci/run` runs them over the repository.

"use strict";

const assert = require("node:assert/strict");
const { spawnSync } = require("node:child_process");
const { generateKeyPairSync } = require("node:crypto");
const fs = require("node:fs");
const { tmpdir } = require("node:os");
const { dirname, join } = require("node:path");
const { afterEach, beforeEach, describe, it } = require("node:test");

const { licences, secrets } = require("../scripts/scan");

/** @type {string} */
let folder;

beforeEach(() => (folder = fs.mkdtempSync(join(tmpdir(), "sio-scan-"))));
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

/** @param {string} path @param {string} content */
function write(path, content) {
  const file = join(folder, path);
  fs.mkdirSync(dirname(file), { recursive: true });
  fs.writeFileSync(file, content);
}

/** @param {import("../scripts/checks").Step} step */
function scan({ program, args }) {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: folder, encoding: "utf8" });
  return { status, output: stdout + stderr };
}

describe("the scan for secrets", () => {
  it("finds a private key", () => {
    const { privateKey } = generateKeyPairSync("rsa", {
      modulusLength: 2048,
      publicKeyEncoding: { type: "spki", format: "pem" },
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
    });
    write("key.js", `const key = \`${privateKey}\`;`);
    const { status, output } = scan(secrets(["key.js"]));
    assert.equal(status, 1);
    assert.match(output, /PrivateKey/);
  });

  it("passes a file without secrets", () => {
    write("a.js", "const a = 1;");
    assert.equal(scan(secrets(["a.js"])).status, 0);
  });
});

describe("the scan of licences", () => {
  /** A project that depends on a package of that licence. @param {string} license */
  function projectWith(license) {
    const dependency = { name: "dependency", version: "1.0.0", license };
    const project = { name: "project", private: true, dependencies: { dependency: "1.0.0" } };
    write("package.json", JSON.stringify(project));
    write("node_modules/dependency/package.json", JSON.stringify(dependency));
    return folder;
  }

  it("refuses a licence that is not in the list", () => {
    const { status, output } = scan(licences(projectWith("GPL-3.0-only")));
    assert.equal(status, 1);
    assert.match(output, /dependency@1\.0\.0.*GPL-3\.0-only/);
  });

  it("passes one that is in the list", () => {
    assert.equal(scan(licences(projectWith("ISC"))).status, 0);
  });
});

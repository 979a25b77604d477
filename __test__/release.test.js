// What release.yml does for a tag, in a copy of the repository. A program that records its arguments
// stands in for npm.

"use strict";

const assert = require("node:assert/strict");
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const { tmpdir } = require("node:os");
const { delimiter, join } = require("node:path");
const { afterEach, beforeEach, describe, it } = require("node:test");
const { SUPPORTED, packageName } = require("../lib/platform");

const ROOT = join(__dirname, "..");
const COPIED = ["scripts", "lib", "npm", "package.json", "Cargo.toml", "CHANGELOG.md", "README.md"];
const NAME = "socket.io-redis-streams-native";
/** Another one than the repository has, so that none is right by chance. */
const VERSION = "3.1.4";
const CHANGELOG = `# Changelog

## [Unreleased]

What comes.

## [${VERSION}] - 2026-11-26

### Added

- Something.

## [${VERSION}0] - 2026-11-25

Something else.
`;

/** @type {string} */
let clone;

/** @param {string} file @param {(text: string) => string} change */
function edit(file, change) {
  fs.writeFileSync(join(clone, file), change(fs.readFileSync(join(clone, file), "utf8")));
}

/** @param {string} file @param {Record<string, unknown>} fields */
function editManifest(file, fields) {
  edit(file, (text) => JSON.stringify({ ...JSON.parse(text), ...fields }));
}

const MANIFESTS = ["package.json", ...SUPPORTED.map((each) => `npm/${each}/package.json`)];

/** @param {string[]} args @param {Record<string, string>} [environment] */
function release(args, environment = {}) {
  const { npm_execpath, GITHUB_REPOSITORY, ...env } = process.env;
  const PATH = [join(clone, "bin"), env.PATH].join(delimiter);
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(clone, "scripts", "release.js"), ...args],
    { encoding: "utf8", env: { ...env, ...environment, PATH } },
  );
  return { status, stdout, stderr };
}

beforeEach(() => {
  clone = fs.mkdtempSync(join(tmpdir(), "sio-release-"));
  COPIED.forEach((path) => fs.cpSync(join(ROOT, path), join(clone, path), { recursive: true }));
  MANIFESTS.forEach((file) => editManifest(file, { version: VERSION }));
  edit("Cargo.toml", (text) => text.replace(/^version = ".*"$/m, `version = "${VERSION}"`));
  fs.writeFileSync(join(clone, "CHANGELOG.md"), CHANGELOG);
  edit("README.md", (text) => text.replaceAll(/not on the npm registry yet/gi, "there"));
});

afterEach(() => fs.rmSync(clone, { recursive: true, force: true }));

describe("a tag", () => {
  it("is wrong while README.md says that there is no package", () => {
    edit("README.md", (text) => `${text}\nNot on the npm registry yet.\n`);
    const { status, stderr } = release(["check", `v${VERSION}`]);
    assert.deepEqual([status, stderr], [1, 'README.md says "not on the npm registry yet"\n']);
  });

  it("is right when everything is of its version", () => {
    assert.deepEqual(release(["check", `v${VERSION}`]), { status: 0, stdout: "", stderr: "" });
  });

  for (const file of [...MANIFESTS, "Cargo.toml"]) {
    it(`is refused when ${file} has another version`, () => {
      edit(file, (text) => text.replace(VERSION, "3.1.3"));
      const { status, stderr } = release(["check", `v${VERSION}`]);
      assert.equal(status, 1);
      assert.equal(stderr, `${file}: the version is 3.1.3, not ${VERSION}\n`);
    });
  }

  it("is refused when it is no version", () => {
    for (const tag of [VERSION, "v3.1", "v3.1.4.5", "vnext"]) {
      const { status, stderr } = release(["check", tag]);
      assert.equal(status, 1);
      assert.match(stderr, /must be v and a version/, tag);
    }
  });

  it("is refused when the changelog says nothing about it", () => {
    edit("CHANGELOG.md", (text) => text.replace(`[${VERSION}] `, "[3.1.3] "));
    const { status, stderr } = release(["check", `v${VERSION}`]);
    assert.equal(status, 1);
    assert.match(stderr, /CHANGELOG\.md says nothing/);
  });

  it("is refused when a package does not say that it is from there, as provenance needs", () => {
    const repository = { type: "git", url: "git+https://github.com/them/there.git" };
    MANIFESTS.forEach((file) => editManifest(file, { repository }));
    const check = ["check", `v${VERSION}`];
    assert.equal(release(check, { GITHUB_REPOSITORY: "them/there" }).status, 0);
    const { status, stderr } = release(check, { GITHUB_REPOSITORY: "others/there" });
    assert.equal(status, 1);
    assert.equal(
      stderr.match(/git\+https:\/\/github\.com\/others\/there\.git/g)?.length,
      MANIFESTS.length,
    );
  });

  it("has its section of the changelog as the release's text", () => {
    const { stdout } = release(["notes", `v${VERSION}`]);
    assert.equal(stdout, "### Added\n\n- Something.\n");
  });
});

describe("publishing", () => {
  const tarball = (/** @type {string} */ name) => join(clone, "tarballs", `${name}-${VERSION}.tgz`);
  const NAMES = [...SUPPORTED.map(packageName), NAME];

  /** What `npm view` says, in the shell: everything is unknown. */
  const UNKNOWN = "echo 'npm error code E404' >&2; exit 1";

  /** @param {string} view what `npm view` does, in the shell, with the package in $2 */
  function npmIs(view) {
    const script = `#!/bin/sh\ncase $1 in view) ${view} ;; *) echo "$@" >> ${clone}/calls ;; esac\n`;
    fs.writeFileSync(join(clone, "bin", "npm"), script, { mode: 0o755 });
  }

  /** @returns {string[]} */
  function published() {
    const file = join(clone, "calls");
    return fs.existsSync(file) ? fs.readFileSync(file, "utf8").trim().split("\n") : [];
  }

  /** @param {string} name @param {string} tag */
  const call = (name, tag) => `publish ${tarball(name)} --access public --tag ${tag} --provenance`;

  beforeEach(() => {
    fs.mkdirSync(join(clone, "bin"));
    fs.mkdirSync(join(clone, "tarballs"));
    NAMES.forEach((name) => fs.writeFileSync(tarball(name), ""));
  });

  it("publishes the engines, then the package that names them", () => {
    npmIs(UNKNOWN);
    const { status, stderr } = release(["publish", "tarballs"]);
    assert.equal(status, 0, stderr);
    assert.deepEqual(
      published(),
      NAMES.map((name) => call(name, "latest")),
    );
  });

  it("goes on where a run before has broken off", () => {
    const there = `${packageName(SUPPORTED[0])}@${VERSION}`;
    npmIs(`[ "$2" = ${there} ] && echo '"${VERSION}"' || { ${UNKNOWN}; }`);
    assert.equal(release(["publish", "tarballs"]).status, 0);
    assert.deepEqual(
      published(),
      NAMES.slice(1).map((name) => call(name, "latest")),
    );
  });

  it("publishes nothing when a package is missing", () => {
    npmIs(UNKNOWN);
    fs.rmSync(tarball(NAMES[3]));
    const { status, stderr } = release(["publish", "tarballs"]);
    assert.equal(status, 1);
    assert.match(stderr, new RegExp(`${NAMES[3]}-.* is missing`));
    assert.deepEqual(published(), []);
  });

  it("publishes nothing when the registry does not answer", () => {
    npmIs("echo 'npm error code ENOTFOUND' >&2; exit 1");
    assert.equal(release(["publish", "tarballs"]).status, 1);
    assert.deepEqual(published(), []);
  });

  it("keeps a preview away from those who do not ask for it", () => {
    npmIs(UNKNOWN);
    editManifest("package.json", { version: `${VERSION}-beta.1` });
    NAMES.forEach((name) => {
      fs.renameSync(tarball(name), join(clone, "tarballs", `${name}-${VERSION}-beta.1.tgz`));
    });
    assert.equal(release(["publish", "tarballs"]).status, 0);
    assert.ok(published().every((line) => line.includes("--tag next")));
    assert.equal(published().length, NAMES.length);
  });
});

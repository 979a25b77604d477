"use strict";
// The steps of .github/workflows/release.yml for a tag:
//
//     node scripts/release.js check v1.2.3      checks that all files have this version
//     node scripts/release.js notes v1.2.3      prints the version's section of the changelog
//     node scripts/release.js publish tarballs  publishes the folder's tarballs that are not published yet
//     node scripts/release.js publish tarballs --dry-run

const { spawnSync } = require("node:child_process");
const { existsSync, readFileSync } = require("node:fs");
const { join, resolve } = require("node:path");

const { SUPPORTED, packageName } = require("../lib/platform");
const { ROOT, ScriptError, npm, main, requireKnown } = require("./run");

/** The text that README.md holds until the first version is published. */
const UNPUBLISHED = "not on the npm registry yet";

const COMMANDS = ["check", "notes", "publish"];

/** @param {string} file */
const read = (file) => readFileSync(join(ROOT, file), "utf8");

/** @param {string} file @returns {Record<string, any>} */
const manifestOf = (file) => JSON.parse(read(file));

/** @param {string} tag @returns {string} */
function versionOf(tag) {
  const [, version] = /^v(\d+\.\d+\.\d+(?:-[\w.]+)?)$/.exec(tag) ?? [];
  if (version === undefined) {
    throw new ScriptError(`The tag is ${tag}, must be v and a version, as in v1.2.3`);
  }
  return version;
}

/**
 * @param {string} changelog
 * @param {string} version
 * @returns {string | undefined} its section without the heading
 */
function sectionOf(changelog, version) {
  const sections = changelog.split(/^## /m).slice(1);
  const section = sections.find((text) => text.startsWith(`[${version}]`));
  return section?.slice(section.indexOf("\n")).trim();
}

/** @param {string} tag @returns {string} */
function notes(tag) {
  const text = sectionOf(read("CHANGELOG.md"), versionOf(tag));
  if (!text) {
    throw new ScriptError(`CHANGELOG.md says nothing under "## [${versionOf(tag)}]"`);
  }
  return text;
}

/** The versions that must agree. @returns {Record<string, string | undefined>} by their file */
function versions() {
  const manifests = ["package.json", ...SUPPORTED.map((each) => `npm/${each}/package.json`)];
  return {
    ...Object.fromEntries(manifests.map((file) => [file, manifestOf(file).version])),
    "Cargo.toml": /^version = "(.*)"$/m.exec(read("Cargo.toml"))?.[1],
  };
}

/**
 * npm refuses a package with provenance if its manifest does not name the repository that it was built
 * in.
 *
 * @param {string | undefined} repository owner and name; undefined outside GitHub
 * @returns {string[]} what is wrong
 */
function wrongRepository(repository) {
  if (repository === undefined) {
    return [];
  }
  const manifests = ["package.json", ...SUPPORTED.map((each) => `npm/${each}/package.json`)];
  return manifests
    .filter((file) => !manifestOf(file).repository?.url?.includes(`github.com/${repository}.git`))
    .map((file) => `${file}: repository.url must be git+https://github.com/${repository}.git`);
}

/** @param {string} tag */
function check(tag) {
  const version = versionOf(tag);
  const others = Object.entries(versions()).filter(([, each]) => each !== version);
  const wrong = [
    ...others.map(([file, each]) => `${file}: the version is ${each}, not ${version}`),
    ...wrongRepository(process.env.GITHUB_REPOSITORY),
    ...(read("README.md").toLowerCase().includes(UNPUBLISHED)
      ? [`README.md says "${UNPUBLISHED}"`]
      : []),
  ];
  if (wrong.length > 0) {
    throw new ScriptError(wrong.join("\n"));
  }
  notes(tag);
}

/** @param {string} name @param {string} version */
function isPublished(name, version) {
  const windows = process.platform === "win32";
  const { status, stdout, stderr } = spawnSync(
    "npm",
    ["view", `${name}@${version}`, "version", "--json"],
    { encoding: "utf8", shell: windows },
  );
  if (status !== 0 && !/\bE404\b/.test(stdout + stderr)) {
    throw new ScriptError(`Whether ${name}@${version} is published cannot be told:\n${stderr}`);
  }
  return status === 0 && stdout.trim() !== "";
}

/**
 * Publishes the main package last, so that whoever installs it finds its engines. Skips packages that
 * are already published, so that an interrupted run can be repeated.
 *
 * @param {string} folder
 * @param {boolean} dryRun
 */
function publish(folder, dryRun) {
  const { name: main, version } = manifestOf("package.json");
  const names = [...SUPPORTED.map(packageName), main];
  const tarballs = names.map((name) => ({
    name,
    file: resolve(ROOT, folder, `${name}-${version}.tgz`),
  }));
  const missing = tarballs.filter(({ file }) => !existsSync(file));
  if (missing.length > 0) {
    throw new ScriptError(missing.map(({ file }) => `${file} is missing`).join("\n"));
  }
  // `npm install` must not install a preview by default.
  const tag = version.includes("-") ? "next" : "latest";
  const options = ["--access", "public", "--tag", tag, dryRun ? "--dry-run" : "--provenance"];
  for (const { name, file } of tarballs) {
    if (isPublished(name, version)) {
      console.log(`${name}@${version} is published already`);
    } else {
      npm(["publish", file, ...options]);
    }
  }
}

module.exports = { sectionOf };

if (require.main === module) {
  const options = /** @type {const} */ ({ "dry-run": { type: "boolean", default: false } });
  main({ options, allowPositionals: true }, ({ values, positionals: [command = "", argument] }) => {
    requireKnown("command", command, COMMANDS);
    if (argument === undefined) {
      throw new ScriptError(`${command} needs a tag or a folder. --help lists the arguments.`);
    }
    switch (command) {
      case "check":
        return check(argument);
      case "notes":
        return console.log(notes(argument));
      default:
        return publish(argument, values["dry-run"]);
    }
  });
}

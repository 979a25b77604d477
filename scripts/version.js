"use strict";
// `npm version` runs this after it has changed package.json. This writes the version to all other places
// and adds them to npm's commit. `__test__/package/platforms.test.js` fails if a place was forgotten.

const { readFileSync, readdirSync, writeFileSync } = require("node:fs");
const { basename, join } = require("node:path");

const { requireCargo } = require("./build");
const { ROOT, npm, run, main } = require("./run");

/** @returns {string[]} */
function exampleManifests() {
  const files = readdirSync(join(ROOT, "examples"), { recursive: true }).map(String);
  return files
    .filter((file) => basename(file) === "package.json" && !file.includes("node_modules"))
    .map((file) => join(ROOT, "examples", file));
}

/**
 * @param {string} file
 * @param {RegExp} place matches a group before the version, and the version
 * @param {string} version
 */
function edit(file, place, version) {
  const text = readFileSync(file, "utf8");
  writeFileSync(
    file,
    text.replace(place, (_, before) => before + version),
  );
}

main({}, () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  run(process.execPath, [
    join(ROOT, "node_modules", "@napi-rs", "cli", "dist", "cli.js"),
    "version",
  ]);

  edit(join(ROOT, "Cargo.toml"), /^(\[package\]\n(?:.+\n)*?version = ")[^"]*/m, version);
  requireCargo();
  for (const workspace of [ROOT, join(ROOT, "fuzz")]) {
    run("cargo", ["update", "--workspace", "--offline"], { cwd: workspace });
  }

  // The examples ask for this version. Only then does npm use the checkout for them.
  for (const file of exampleManifests()) {
    edit(file, /(socket\.io-redis-streams-native(?:": "|@)\^)[^"]+/g, version);
  }
  edit(join(ROOT, "README.md"), /(socket\.io-redis-streams-native-)[\d.]+\d(?=\.tgz)/g, version);
  npm(["install", "--package-lock-only", "--ignore-scripts"]);
  const changed = ["npm", "examples", "README.md", "package-lock.json", "Cargo.toml", "Cargo.lock"];
  run("git", ["add", ...changed, "fuzz/Cargo.lock"]);
});

"use strict";
// What `npm version` runs once it has changed package.json: the version goes wherever else it stands,
// and into npm's commit. `__test__/package/platforms.test.js` fails where one was left out.

const { readFileSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");

const { requireCargo } = require("./build");
const { ROOT, run, main } = require("./run");

main(() => {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  run(process.execPath, [
    join(ROOT, "node_modules", "@napi-rs", "cli", "dist", "cli.js"),
    "version",
  ]);

  const cargo = join(ROOT, "Cargo.toml");
  const section = /^(\[package\]\n(?:.+\n)*?version = ").*"$/m;
  writeFileSync(cargo, readFileSync(cargo, "utf8").replace(section, `$1${version}"`));
  requireCargo();
  for (const workspace of [ROOT, join(ROOT, "fuzz")]) {
    run("cargo", ["update", "--workspace", "--offline"], { cwd: workspace });
  }
  run("git", ["add", "npm", "Cargo.toml", "Cargo.lock", "fuzz/Cargo.lock"]);
});

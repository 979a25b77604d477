"use strict";
// `npm run sbom`: writes the components of the packages into sbom/, in CycloneDX. `npm sbom` lists the
// npm packages that the main package depends on, and cargo-cyclonedx the engine's crates on all
// platforms. release.yml adds both files to the release.
//
//     npm run sbom -- --out folder     instead of sbom/

const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const { tmpdir } = require("node:os");
const { join, resolve } = require("node:path");

const { requireCargo } = require("./build");
const { ROOT, ScriptError, which, run, npm, main } = require("./run");

const NAME = "socket.io-redis-streams-native";
const SPECIFICATION = "1.5";

/** @param {string} file the path to write it to */
function ofPackages(file) {
  const manifest = JSON.parse(fs.readFileSync(join(ROOT, "package.json"), "utf8"));
  const { name, version, description, license, dependencies } = manifest;
  // In the repository, `npm sbom` follows the workspace "." into itself without end.
  const temporary = fs.mkdtempSync(join(tmpdir(), "sio-sbom-"));
  const folder = join(temporary, name); // by which npm calls what it describes
  try {
    fs.mkdirSync(folder);
    const stripped = { name, version, description, license, dependencies };
    fs.writeFileSync(join(folder, "package.json"), JSON.stringify(stripped));
    npm(["install", "--package-lock-only", "--silent"], { cwd: folder });
    const options = ["--package-lock-only", "--sbom-format=cyclonedx", "--sbom-type=library"];
    const { status, stdout, stderr } = spawnSync("npm", ["sbom", ...options], {
      cwd: folder,
      encoding: "utf8",
      shell: process.platform === "win32",
    });
    if (status !== 0) {
      throw new ScriptError(`npm sbom failed:\n${stderr}`);
    }
    fs.writeFileSync(file, stdout);
  } finally {
    fs.rmSync(temporary, { recursive: true, force: true });
  }
}

/** @param {string} file the path to write it to */
function ofEngine(file) {
  requireCargo();
  if (!which("cargo-cyclonedx")) {
    throw new ScriptError("cargo-cyclonedx is needed: cargo install --locked cargo-cyclonedx");
  }
  const format = ["--format=json", `--spec-version=${SPECIFICATION}`];
  const what = ["--target=all", "--no-build-deps", "--override-filename=engine.cdx"];
  run("cargo", ["cyclonedx", "--quiet", ...format, ...what]);
  // cargo-cyclonedx writes only beside Cargo.toml.
  fs.renameSync(join(ROOT, "engine.cdx.json"), file);
}

const OPTIONS = /** @type {const} */ ({ out: { type: "string", default: "sbom" } });

main({ options: OPTIONS }, ({ values }) => {
  const out = resolve(ROOT, values.out);
  fs.mkdirSync(out, { recursive: true });
  ofPackages(join(out, `${NAME}.cdx.json`));
  ofEngine(join(out, `${NAME}-engine.cdx.json`));
});

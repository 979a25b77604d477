"use strict";
// Reads the modules of src/engine and who uses whom, out of their `use` lines and paths.

const { readFileSync, readdirSync } = require("node:fs");
const { join, sep } = require("node:path");

const ENGINE = join(__dirname, "..", "..", "src", "engine");

/**
 * @typedef {Map<string, string>} Sources path below src/engine, with slashes, to the file's text
 * @typedef {{ file: string, own: string, uses: string, text: string }} Use of a module by a file of another
 */

/** @returns {Sources} */
function readSources() {
  const files = readdirSync(ENGINE, { recursive: true }).map(String);
  return new Map(
    files
      .map((file) => file.split(sep).join("/"))
      .filter((file) => file.endsWith(".rs") && !/(^|\/)tests(\/|\.rs$)/.test(file))
      .map((file) => [file, withoutTests(readFileSync(join(ENGINE, file), "utf8"))]),
  );
}

/**
 * Tests may use what is built on the tested module.
 *
 * @param {string} text
 */
function withoutTests(text) {
  return text
    .split(/^#\[cfg\(test\)\]\nmod tests \{/m)[0]
    .replace(/^#\[cfg\(test\)\]\n.*;$/gm, "")
    .replace(/^\s*\/\/.*$/gm, "");
}

/**
 * The modules of the engine, in the order in which src/engine/mod.rs declares them.
 *
 * @param {Sources} sources
 * @returns {string[]}
 */
function declaredOrder(sources) {
  return [...modulesIn(sources.get("mod.rs") ?? "")];
}

/** @param {string} text */
function modulesIn(text) {
  return [...text.matchAll(/^(?:pub(?:\([a-z]+\))? )?mod (\w+);/gm)].map(([, name]) => name);
}

/** @param {string} file @returns {string[]} the path of its module below src/engine */
function moduleOf(file) {
  const path = file.replace(/\.rs$/, "").split("/");
  return path.at(-1) === "mod" ? path.slice(0, -1) : path;
}

/**
 * Each path below the engine that a file names, as module segments and the names at their end.
 *
 * @param {string} file
 * @param {string} text
 * @returns {string[][]}
 */
function pathsIn(file, text) {
  const own = moduleOf(file);
  /** @type {string[][]} */
  const paths = [];
  for (const [, head, tail] of text.matchAll(
    /\b(crate::engine|crate::node|(?:super::)*super)((?:::\w+)*(?:::\{[^;]*?\})?)/g,
  )) {
    const supers = head.startsWith("super") ? head.split("::").length : 0;
    const base =
      head === "crate::node" ? ["<node>"] : supers > 0 ? own.slice(0, own.length - supers) : [];
    const [, segments, names] = /^((?:::\w+)*)(?:::\{([^]*)\})?$/.exec(tail) ?? [];
    const path = [...base, ...(segments ?? "").split("::").filter(Boolean)];
    const ends = names?.split(",").map((name) => name.trim().split(/::| /)[0]) ?? [];
    paths.push(...(ends.length > 0 ? ends.filter(Boolean).map((end) => [...path, end]) : [path]));
  }
  return paths;
}

/**
 * Which of the engine's modules uses which other one.
 *
 * @param {Sources} sources
 * @returns {Use[]} by module names; `<node>` is src/node
 */
function usesOfModules(sources) {
  return [...sources].flatMap(([file, text]) => {
    const [own] = moduleOf(file);
    return pathsIn(file, text)
      .map((path) => ({ file, uses: path[0], text: path.join("::"), own }))
      .filter(({ uses }) => own !== undefined && uses !== undefined && uses !== own);
  });
}

/**
 * Which file of a folder uses which other one, names that the folder's mod.rs hands on followed to
 * the file that defines them. What mod.rs itself defines is the tie of parent and child.
 *
 * @param {Sources} sources
 * @param {string} folder
 * @returns {Map<string, Set<string>>}
 */
function usesWithin(sources, folder) {
  const parent = sources.get(`${folder}/mod.rs`) ?? "";
  const children = new Set(modulesIn(parent));
  const definedIn = new Map(
    [...parent.matchAll(/\buse (\w+)::(\{[^}]*\}|\w+);/g)].flatMap(([, child, names]) =>
      names
        .replace(/[{}\s]/g, "")
        .split(",")
        .map((name) => [name, child]),
    ),
  );
  const depth = folder.split("/").length;
  /** @type {Map<string, Set<string>>} */
  const uses = new Map([...children].map((child) => [child, new Set()]));
  for (const [file, text] of sources) {
    const child = moduleOf(file)[depth];
    if (!file.startsWith(`${folder}/`) || !uses.has(child)) {
      continue;
    }
    for (const path of pathsIn(file, text)) {
      const name = path.slice(0, depth).join("/") === folder ? path[depth] : undefined;
      const used = name !== undefined && children.has(name) ? name : definedIn.get(name ?? "");
      if (used !== undefined && used !== child) {
        uses.get(child)?.add(used);
      }
    }
  }
  return uses;
}

/**
 * @param {Map<string, Set<string>>} uses
 * @returns {string[] | undefined} a circle, if there is one
 */
function findCircle(uses) {
  /** @type {Set<string>} */
  const done = new Set();
  /** @param {string} node @param {string[]} path @returns {string[] | undefined} */
  const walk = (node, path) => {
    if (path.includes(node)) {
      return [...path.slice(path.indexOf(node)), node];
    }
    if (done.has(node)) {
      return undefined;
    }
    for (const used of uses.get(node) ?? []) {
      const circle = walk(used, [...path, node]);
      if (circle) {
        return circle;
      }
    }
    done.add(node);
    return undefined;
  };
  for (const node of uses.keys()) {
    const circle = walk(node, []);
    if (circle) {
      return circle;
    }
  }
  return undefined;
}

module.exports = { readSources, declaredOrder, usesOfModules, usesWithin, findCircle };

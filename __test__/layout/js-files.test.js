// The layout of the JS files: no file requires itself, by whatever detour. A file in a circle
// sees the exports of another one before they are there, and neither can be read alone.

"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { tmpdir } = require("node:os");
const { join, relative, resolve } = require("node:path");
const { describe, test } = require("node:test");
const ts = require("typescript");

const ROOT = join(__dirname, "..", "..");
/** Where the project's own files are. */
const PLACES = ["index.js", "metrics.js", "lib", "scripts", "bench", "fuzz", "__test__"];

/** A circle that is being broken up, as it is reported. */
const KNOWN = ["scripts/build.js → scripts/setup.js → scripts/build.js"];

/** @param {string} root @param {string[]} places @returns {string[]} absolute paths */
function jsFiles(root, places) {
  return places.flatMap((place) => {
    const path = join(root, place);
    const files = fs.statSync(path).isDirectory()
      ? fs.readdirSync(path, { recursive: true }).map((file) => join(path, String(file)))
      : [path];
    return files.filter((file) => file.endsWith(".js") && !file.includes("node_modules"));
  });
}

/** The files that a file requires, also within functions. @param {string} file @returns {string[]} */
function requiredBy(file) {
  const { importedFiles } = ts.preProcessFile(fs.readFileSync(file, "utf8"), true, true);
  return importedFiles
    .filter(({ fileName }) => fileName.startsWith("."))
    .flatMap(({ fileName }) => {
      try {
        return [require.resolve(resolve(file, "..", fileName))];
      } catch {
        return []; // in the text of a program that a test writes elsewhere
      }
    });
}

/**
 * @param {string} root
 * @param {string[]} places
 * @returns {string[]} one circle of each group of files that require each other
 */
function circles(root, places) {
  const files = jsFiles(root, places);
  /** @type {Map<string, string[]>} */
  const requires = new Map(files.map((file) => [file, requiredBy(file)]));
  /** @type {string[]} */
  const found = [];
  /** @type {Set<string>} */
  const done = new Set();
  /** @param {string} file @param {string[]} path that leads to it */
  const visit = (file, path) => {
    if (path.includes(file)) {
      const circle = [...path.slice(path.indexOf(file)), file];
      found.push(circle.map((each) => relative(root, each)).join(" → "));
    } else if (!done.has(file)) {
      requires.get(file)?.forEach((next) => visit(next, [...path, file]));
      done.add(file);
    }
  };
  files.forEach((file) => visit(file, []));
  return found;
}

describe("no JS file requires itself", () => {
  test("in this project", () => {
    assert.ok(jsFiles(ROOT, PLACES).length > 100, "the files are found");
    assert.deepEqual(
      circles(ROOT, PLACES).filter((circle) => !KNOWN.includes(circle)),
      [],
    );
  });

  test("and one that does is found, however long the detour", (t) => {
    const root = fs.mkdtempSync(join(tmpdir(), "sio-circles-"));
    t.after(() => fs.rmSync(root, { recursive: true }));
    const write = (/** @type {string} */ name, /** @type {string} */ text) =>
      fs.writeFileSync(join(root, name), text);
    fs.mkdirSync(join(root, "lib"));
    write("lib/a.js", '// require("./c");\nrequire("./b"); require("./c");');
    write("lib/b.js", 'const text = `require("./a")`; require("./c");');
    write("lib/c.js", 'const path = require("node:path"); // require("./a")');
    assert.deepEqual(circles(root, ["lib"]), []);
    write("lib/c.js", 'function later() { return require("./a"); }');
    assert.deepEqual(circles(root, ["lib"]), ["lib/a.js → lib/b.js → lib/c.js → lib/a.js"]);
  });
});

// The functions that the documents name exist: `Type::function` in src/, `Class.method` in lib/.

"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { join } = require("node:path");
const { describe, test } = require("node:test");

const { DOCUMENTS, ROOT, read } = require("./markdown");

/** `Cargo.toml` is a file, and no method. */
const EXTENSIONS = ["toml", "lock", "md"];

/** @param {string} folder @param {string} extension @returns {string[]} the texts of its files */
const sources = (folder, extension) =>
  fs
    .readdirSync(join(ROOT, folder), { recursive: true })
    .map((file) => `${folder}/${file}`)
    .filter((file) => file.endsWith(extension))
    .map(read);

const RUST = sources("src", ".rs");
const JS = sources("lib", ".js");

/** @param {string} type @param {string} name of a function, a variant or a field */
function isInRust(type, name) {
  const inherent = new RegExp(`\\bimpl(<[^>]*>)? ([\\w:]+ for )?${type}\\b`);
  const declared = new RegExp(`\\b(struct|enum) ${type}\\b[^}]*\\b${name}\\b[:,({]`);
  const isFunction = (/** @type {string} */ text) =>
    inherent.test(text) && new RegExp(`\\bfn ${name}\\b`).test(text);
  return RUST.some((text) => isFunction(text) || declared.test(text));
}

/** @param {string} type @param {string} name */
const isInJs = (type, name) =>
  JS.some(
    (text) =>
      new RegExp(`\\bclass ${type}\\b`).test(text) &&
      new RegExp(`^  (async |static )*${name}[ (=]`, "m").test(text),
  );

describe("the functions that the documents name exist", () => {
  // docs/architecture.md is being rewritten along with the modules that it describes.
  for (const document of DOCUMENTS.filter((each) => each !== "docs/architecture.md")) {
    test(document, () => {
      const text = read(document);
      const rust = [...text.matchAll(/`([A-Z]\w+)::(\w+)`/g)];
      const js = [...text.matchAll(/`([A-Z][a-z]\w+)\.(#?[a-z]\w+)`/g)];
      const missing = [
        ...rust.filter(([, type, name]) => !isInRust(type, name)),
        ...js.filter(([, type, name]) => !isInJs(type, name) && !EXTENSIONS.includes(name)),
      ];
      assert.deepEqual(
        missing.map(([reference]) => reference),
        [],
      );
    });
  }
});

// What the documents link to, and the files that they name, exist.

"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { dirname, join } = require("node:path");
const { describe, test } = require("node:test");

const { DOCUMENTS, EXAMPLES, ROOT, read } = require("./markdown");

/** @param {string} markdown */
const withoutBlocks = (markdown) => markdown.replace(/^```.*?^```$/gms, "");

/** The anchors that GitHub makes of a document's headings. @param {string} path */
function anchorsOf(path) {
  const headings = withoutBlocks(fs.readFileSync(path, "utf8")).matchAll(/^#+ (.+)$/gm);
  return [...headings].map(([, heading]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

describe("what the documents name exists", () => {
  for (const document of [...DOCUMENTS, ...EXAMPLES]) {
    test(document, () => {
      const text = withoutBlocks(read(document));
      for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(target)) {
          continue;
        }
        const [file, anchor] = target.split("#");
        const path = file === "" ? join(ROOT, document) : join(ROOT, dirname(document), file);
        assert.ok(fs.existsSync(path), `the target ${target}`);
        if (anchor !== undefined) {
          assert.ok(anchorsOf(path).includes(anchor), `the section ${target}`);
        }
      }
      if (document.startsWith("examples/")) {
        return; // files are named as they are in its own folder: folders.test.js looks there
      }
      const files = /`((?:__test__|src|lib|scripts|examples|docs|npm|bench|fuzz)\/[\w./-]*)`/g;
      for (const [, path] of text.matchAll(files)) {
        assert.ok(fs.existsSync(join(ROOT, path)), `the file ${path}`);
      }
    });
  }
});

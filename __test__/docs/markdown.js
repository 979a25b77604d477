// The documents, as far as tests read them: their code blocks, sections and tables.

"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { join } = require("node:path");

const ROOT = join(__dirname, "..", "..");

/** @param {string} folder */
const documentsIn = (folder) =>
  fs
    .readdirSync(join(ROOT, folder))
    .filter((file) => file.endsWith(".md"))
    .map((file) => (folder === "" ? file : `${folder}/${file}`))
    .sort();

/** All of them but for those of the examples, which have tests of their own. */
const DOCUMENTS = [...documentsIn(""), ...documentsIn("docs")];

/** Those of the examples. */
const EXAMPLES = fs
  .readdirSync(join(ROOT, "examples"), { withFileTypes: true })
  .flatMap((entry) =>
    entry.isDirectory() ? documentsIn(`examples/${entry.name}`) : [`examples/${entry.name}`],
  )
  .filter((file) => file.endsWith(".md"));

/** @param {string} file */
function read(file) {
  return fs.readFileSync(join(ROOT, file), "utf8");
}

/**
 * @typedef {object} Block
 * @property {string} document
 * @property {string} language
 * @property {string} code
 * @property {number} line where it starts
 */

/**
 * @param {string} document
 * @returns {Block[]}
 */
function blocksOf(document) {
  const markdown = read(document);
  return [...markdown.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(
    ({ 1: language, 2: code, index }) => ({
      document,
      language,
      code,
      line: markdown.slice(0, index).split("\n").length,
    }),
  );
}

/** @param {string} language @returns {Block[]} of all documents */
function allBlocks(language) {
  const blocks = DOCUMENTS.flatMap(blocksOf).filter((block) => block.language === language);
  assert.ok(blocks.length > 0, `the documents have ${language} blocks`);
  return blocks;
}

/**
 * @param {string} document
 * @param {string} title of a section
 * @returns {string} its text up to the next title of the same level
 */
function section(document, title) {
  const [, text] = read(document).split(`\n## ${title}\n`);
  assert.ok(text, `${document} has the section "${title}"`);
  return text.split("\n## ")[0];
}

/**
 * @param {string} markdown
 * @returns {string[][]} the cells of each row of all its tables, without the rows above the lines
 */
function tableRows(markdown) {
  const rows = markdown.split("\n").filter((line) => line.startsWith("|"));
  const cells = rows.map((row) =>
    row
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim()),
  );
  const isLine = (/** @type {string[]} */ row) => /^:?-+:?$/.test(row[0]);
  return cells.filter((row, i) => !isLine(row) && !(cells[i + 1] && isLine(cells[i + 1])));
}

/** @param {string} cell */
function codeIn(cell) {
  const code = /`([^`]+)`/.exec(cell)?.[1];
  assert.ok(code, `there is code in "${cell}"`);
  return code;
}

module.exports = {
  ROOT,
  DOCUMENTS,
  EXAMPLES,
  read,
  blocksOf,
  allBlocks,
  section,
  tableRows,
  codeIn,
};

"use strict";
// Replaces sections of documents. Each section is between `<!-- name -->` and `<!-- /name -->`.

const { readFileSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");

const prettier = require("prettier");

const { ROOT } = require("./run");

/**
 * @param {string} document
 * @param {Record<string, string>} sections Markdown, by the name of the part that it replaces
 */
async function replaceSections(document, sections) {
  const path = join(ROOT, document);
  let text = readFileSync(path, "utf8");
  for (const [name, content] of Object.entries(sections)) {
    const section = new RegExp(`(<!-- ${name} -->)[^]*(<!-- /${name} -->)`);
    if (!section.test(text)) {
      throw new Error(`${document} has no place for "${name}"`);
    }
    text = text.replace(section, (_, start, end) => `${start}\n\n${content.trim()}\n\n${end}`);
  }
  const options = await prettier.resolveConfig(path);
  writeFileSync(path, await prettier.format(text, { ...options, filepath: path }));
}

module.exports = { replaceSections };

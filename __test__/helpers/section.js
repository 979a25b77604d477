// Sections of documents that a run writes, between two comments that name the section.

"use strict";

/** @param {string} name */
const borders = (name) => ({ start: `<!-- ${name} -->`, end: `<!-- /${name} -->` });

/**
 * @param {string} text of a document
 * @param {string} name
 * @returns {string} the section with its borders, empty when there is none
 */
function sectionOf(text, name) {
  const { start, end } = borders(name);
  const [from, to] = [text.indexOf(start), text.indexOf(end)];
  return from < 0 || to < from ? "" : text.slice(from, to + end.length);
}

/**
 * @param {string} text of a document
 * @param {string} name
 * @param {string} content
 * @returns {string} the document with that content in the section, at its end when there was none
 */
function withSection(text, name, content) {
  const { start, end } = borders(name);
  const section = `${start}\n\n${content.trim()}\n\n${end}`;
  const before = sectionOf(text, name);
  return before === "" ? `${text.trimEnd()}\n\n${section}\n` : text.replace(before, () => section);
}

module.exports = { sectionOf, withSection };

// What documents and comments call by its name is there under that name: files, members of Rust's
// types (methods, variants, fields, constants), and of the classes in lib/.

"use strict";

const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const { describe, test } = require("node:test");

const { DOCUMENTS, ROOT, read } = require("./markdown");

const GIT = ["ls-files", "--cached", "--others", "--exclude-standard"];
/** All files of the project, also those that are not committed yet. */
const FILES = [...new Set(execFileSync("git", GIT, { cwd: ROOT, encoding: "utf8" }).split("\n"))];

/** Names that look like a file's, and are a project's. */
const PROJECTS = ["Node.js", "uWebSockets.js", "Next.js"];
/** Files of projects that use this package. */
const OF_USERS = [
  "webpack.config.js",
  "webpack.externals.js",
  "rspack.config.js",
  "next.config.js",
  "server.js",
];
/** Types of other crates that comments speak of. */
const OTHER_CRATES = ["Value", "Pipeline"];

const FILE_NAME =
  /(?<![\w./@-])(?:\.{0,2}\/)*((?:[\w.-]+\/)*[\w-]+(?:\.[\w-]+)*\.(?:js|rs|md|ts))\b/g;

/** Fuzzers are called like what they are for, and not meant where that is named. @param {string} file */
const isFuzzer = (file) => /^(?:src\/fuzzing|fuzz)\//.test(file);

/** Whether a file is there under this name: whole, or as the end of its path. @param {string} name */
const exists = (name) =>
  FILES.some((file) => file === name || (file.endsWith(`/${name}`) && !isFuzzer(file)));

/** @param {string} text @returns {string[]} the names of files in it that are not there */
function missingFiles(text) {
  const names = [...text.matchAll(FILE_NAME)].map(([, name]) => name);
  return names.filter((name) => ![...PROJECTS, ...OF_USERS].includes(name) && !exists(name));
}

/** What is in backticks, outside of blocks. @param {string} markdown */
const namesIn = (markdown) =>
  [...markdown.replace(/^```.*?^```$/gms, "").matchAll(/`([^`\n]+)`/g)].map(([, name]) => name);

/** @param {string} text of a JS, TS or Rust file @returns {string} its comments */
function commentsOf(text) {
  const lines = [...text.matchAll(/(?<![:"'`\w])\/\/[/!]? ?(.*)$/gm)];
  const blocks = [...text.matchAll(/\/\*\*?(.*?)\*\//gs)];
  return [...lines, ...blocks].map(([, comment]) => comment).join("\n");
}

/** @param {RegExp} name @returns {string[]} the texts of such files that are there */
const textsOf = (name) => FILES.filter((file) => name.test(file)).flatMap((file) => tryRead(file));

/** @param {string} file @returns {string[]} its text, nothing if it was deleted */
function tryRead(file) {
  try {
    return [read(file)];
  } catch {
    return [];
  }
}

/**
 * The members of types, by the type's name.
 *
 * @param {string[]} texts
 * @param {RegExp} item finds an item, with the groups `type` and `body`
 * @param {RegExp} member finds a member in a body
 * @returns {Map<string, Set<string>>}
 */
function membersOf(texts, item, member) {
  /** @type {Map<string, Set<string>>} */
  const members = new Map();
  for (const { groups } of texts.flatMap((text) => [...text.matchAll(item)])) {
    const { type, body } = /** @type {Record<string, string>} */ (groups);
    const own = members.get(type) ?? new Set();
    [...body.matchAll(member)].forEach(([, name]) => own.add(name));
    members.set(type, own);
  }
  return members;
}

// As rustfmt and Prettier write them: an item of a module ends with the first brace that closes at
// its own indentation.
const RUST_ITEM =
  /^(?<indent> *)(?:pub(?:\([^)]*\))? )?(?:impl(?:<[^{]*?>)? (?:[^{]*? for )?|struct |enum |trait )(?<type>\w+)[^{;]*\{\n(?<body>.*?)^\k<indent>\}$/gms;
const RUST_MEMBER = /^ +(?:pub(?:\([^)]*\))? )?(?:async )?(?:const )?(?:fn )?(\w+)(?=[ ,:(<{]|$)/gm;
const JS_ITEM = /^(?:export (?:declare )?)?class (?<type>\w+)[^{]*\{\n(?<body>.*?)^\}$/gms;
const JS_MEMBER = /^ {2}(?:static |async |get )*#?(\w+)(?=[(<:])/gm;

const rustMembers = membersOf(textsOf(/^src\/.*\.rs$/), RUST_ITEM, RUST_MEMBER);
const jsMembers = membersOf(textsOf(/^lib\/.*\.[jt]s$/), JS_ITEM, JS_MEMBER);

/**
 * @param {string} name
 * @returns {boolean} whether it is a member of a type of Rust or of a class of lib/ that is not there
 */
function isMissingMember(name) {
  const [, type, separator, member] = /^([A-Z]+[a-z]\w*)(::|\.)(\w+)(?:\(\))?$/.exec(name) ?? [];
  if (type === undefined || type in globalThis || OTHER_CRATES.includes(type) || exists(name)) {
    return false;
  }
  const members = separator === "::" ? rustMembers : jsMembers;
  return !members.get(type)?.has(member);
}

describe("the files and members that a document names are there", () => {
  for (const document of DOCUMENTS) {
    test(document, () => {
      const text = read(document);
      const names = namesIn(text).filter((name) => !/[ *<>{]/.test(name));
      // As names in sentences, and in drawings, which are blocks of text.
      const drawings = [...text.matchAll(/^```text\n(.*?)^```$/gms)].map(([, block]) => block);
      assert.deepEqual(missingFiles([...names, ...drawings].join("\n")), []);
      assert.deepEqual(names.filter(isMissingMember), []);
    });
  }
});

describe("the files and members that comments name are there", () => {
  for (const folder of ["src", "lib", "scripts", "bench", "fuzz", "__test__", ".ci"]) {
    test(`${folder}/`, () => {
      const files = FILES.filter(
        (file) => file.startsWith(`${folder}/`) && /\.(js|rs|ts)$/.test(file),
      );
      const missing = files.flatMap((file) =>
        tryRead(file)
          .map(commentsOf)
          .flatMap((comments) =>
            [
              ...missingFiles(comments),
              ...[...comments.matchAll(/`(\w+::\w+)`/g)]
                .map(([, name]) => name)
                .filter(isMissingMember),
            ].map((name) => `${file}: ${name}`),
          ),
      );
      assert.deepEqual(missing, []);
    });
  }
});

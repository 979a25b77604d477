// The shell blocks of the documents: what installs something is run in an empty project, on tarballs
// in place of the registry; what runs something in a checkout names scripts, files and flags that are
// there. And no block is of a kind that nothing looks at.

"use strict";

const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { after, before, describe, test } = require("node:test");

const { packageName, platformId } = require("../../lib/platform");
const { DOCUMENTS, ROOT, allBlocks, blocksOf, read } = require("./markdown");

const NAME = "socket.io-redis-streams-native";
const UPSTREAM = "@socket.io/redis-streams-adapter";
const { scripts, version } = JSON.parse(read("package.json"));

/** Blocks of code, each with the test that runs it; `text` is for diagrams and output. */
const LANGUAGES = {
  js: "blocks.test.js",
  redis: "rights.test.js, ../emitter/rights.test.js",
  sh: "shell.test.js",
  cjs: "../package/bundlers.test.js",
  mjs: "../package/bundlers.test.js, or none: settings of Next.js",
  dockerfile: "containers.test.js",
  yaml: "containers.test.js",
  text: undefined,
  mermaid: undefined,
};

test("every block is of a language that a test runs", () => {
  const known = Object.keys(LANGUAGES);
  for (const { document, line, language } of DOCUMENTS.flatMap(blocksOf)) {
    assert.ok(known.includes(language), `${document}:${line} is "${language}"`);
  }
});

/**
 * @typedef {object} Command
 * @property {string} place
 * @property {Record<string, string>} env
 * @property {string[]} words
 */

/** @param {string} place @param {string} text @returns {Command} */
function commandOf(place, text) {
  const words = [...text.matchAll(/"([^"]*)"|(\S+)/g)].map(([word, quoted]) => quoted ?? word);
  const start = words.findIndex((word) => !/^[A-Z_]+=/.test(word));
  const env = Object.fromEntries(words.slice(0, start).map((word) => word.split("=")));
  return { place: `${place} ${text}`, env, words: words.slice(start) };
}

/** @returns {Command[]} of all shell blocks */
function allCommands() {
  return allBlocks("sh").flatMap(({ document, code, line }) =>
    code
      .replaceAll("\\\n", " ")
      .split("\n")
      .map((text) => text.replace(/(^|\s)#.*$/, "").trim())
      .filter(Boolean)
      .map((text) => commandOf(`${document}:${line}`, text)),
  );
}

/**
 * Commands in sentences that no other check here is for, each with the test that runs it. No test has
 * Docker. `npm audit signatures` needs a published package.
 */
const IN_SENTENCES = new Map(
  Object.entries({
    "docker run --rm -p 6379:6379 redis": undefined,
    "docker run --read-only": undefined,
    "npm audit signatures": undefined,
    "npm ci --omit=dev": "containers.test.js",
    "npm ci --omit=optional": "../package/install.test.js",
    "npm ci --include=optional": "../package/install.test.js",
    "npm install": "../package/install.test.js",
    "npm install --os=linux --cpu=arm64 --libc=musl": "../package/install.test.js",
    "npm install prom-client": "../package/types.test.js",
    "npm install socket.io@4": "../package/install.test.js",
    "pm2 start server.js -i 4 --kill-timeout 10000": "../package/pm2.test.js",
    "redis-cli XREVRANGE socket.io + - COUNT 1": "blocks.test.js",
    "node --permission --allow-addons --allow-fs-read=/app/* server.js":
      "../package/install.test.js",
  }),
);

/** A span of code that begins with a program and has arguments. */
const SPAN = /`((?:[A-Z_]+=\S+ )*(?:npm|npx|node|cargo|docker|pm2|redis-cli|bun|deno) [^`\n]+)`/g;

/** Documents for those who work on this repository. */
const OURS = ["CHANGELOG.md", "CONTRIBUTING.md"];

/** Those in sentences and tables of users' documents that a checkout has to have. */
function sentenceCommands() {
  return DOCUMENTS.filter((document) => !OURS.includes(document)).flatMap((document) =>
    [...read(document).matchAll(SPAN)]
      .map(([, text]) => text)
      // Without a program, as `node --test`, it is no command but a name for what its options do.
      .filter((text) => !IN_SENTENCES.has(text) && !/^node( --\S+)+$/.test(text))
      .map((text) => commandOf(document, text)),
  );
}

const COMMANDS = allCommands();
const installs = COMMANDS.filter(({ words }) => words[0] === "npm" && words[1] === "install");
const others = [
  ...COMMANDS.filter((command) => !installs.includes(command)),
  ...sentenceCommands(),
];

test("what is listed as a command in a sentence is in one, and its test is there", () => {
  const texts = DOCUMENTS.map(read).join("\n");
  for (const [command, file] of IN_SENTENCES) {
    assert.ok(texts.includes(`\`${command}\``), command);
    assert.ok(file === undefined || fs.existsSync(join(__dirname, file)), String(file));
  }
});

describe("what installs the package", () => {
  /** Holds what `npm run pack` leaves in a checkout. */
  let tarballs = "";

  before(() => {
    tarballs = fs.mkdtempSync(join(tmpdir(), "sio-tarballs-"));
    const pack = [join(ROOT, "scripts", "pack.js"), "--out", tarballs];
    execFileSync(process.execPath, pack, { stdio: "pipe" });
  });

  after(() => fs.rmSync(tarballs, { recursive: true, force: true }));

  /** What a word stands for without the registry. @param {string} word */
  function withTarballs(word) {
    const tarball = join(tarballs, `${NAME}-${version}.tgz`);
    const platforms = join(tarballs, `${packageName(platformId())}-${version}.tgz`);
    switch (word) {
      case NAME:
        return [tarball, platforms];
      case `${UPSTREAM}@npm:${NAME}`:
        return [`${UPSTREAM}@file:${tarball}`, platforms];
      default:
        return [word];
    }
  }

  for (const { place, words } of installs) {
    test(place, () => {
      const project = fs.mkdtempSync(join(tmpdir(), "sio-install-"));
      try {
        fs.writeFileSync(join(project, "package.json"), '{ "private": true }');
        fs.symlinkSync(tarballs, join(project, "tarballs"));
        const args = ["install", ...words.slice(2).flatMap(withTarballs)];
        // By a shell, since a document's pattern of file names is for a shell.
        const line = ["npm", ...args, "--no-fund", "--no-audit"].join(" ");
        execFileSync("sh", ["-c", line], { cwd: project, stdio: "pipe" });
        const name = words.some((word) => word.startsWith(UPSTREAM)) ? UPSTREAM : NAME;
        const program = `console.log(typeof require("${name}").createAdapter)`;
        const type = execFileSync(process.execPath, ["-e", program], { cwd: project });
        assert.equal(String(type).trim(), "function");
      } finally {
        fs.rmSync(project, { recursive: true, force: true });
      }
    });
  }
});

describe("what runs in a checkout, or a project, is there", () => {
  /** The JS file that an npm script runs. @param {string} script */
  function fileOf(script) {
    assert.ok(scripts[script], `the script ${script}`);
    const [file] = scripts[script].match(/\S+\.js/) ?? [];
    assert.ok(file && fs.existsSync(join(ROOT, file)), `the file of ${script}`);
    return file;
  }

  /** @param {string[]} args @param {string} file */
  function checkFlags(args, file) {
    for (const flag of args.filter((arg) => arg.startsWith("--")).map((arg) => arg.slice(2))) {
      const declared = new RegExp(`(\\b|")${flag}("?): \\{ type:`);
      assert.match(read(file), declared, `${file} knows --${flag}`);
    }
  }

  /** @type {Record<string, (args: string[]) => void>} */
  const programs = {
    npm([verb, ...args]) {
      if (verb === "run") {
        checkFlags(args.slice(1), fileOf(args[0]));
      } else {
        assert.ok(["start", "test"].includes(verb), verb);
        fileOf(verb);
      }
    },
    node(args) {
      const files = args.filter((arg) => /\.m?js$/.test(arg));
      assert.ok(files.length > 0, "a file");
      for (const file of files) {
        // The first block of README.md, which blocks.test.js runs.
        assert.ok(file === "server.mjs" || fs.existsSync(join(ROOT, file)), `the file ${file}`);
      }
    },
    cargo([verb, filter]) {
      assert.equal(verb, "test");
      const module = filter.replace(/::$/, "");
      const isThere = fs
        .readdirSync(join(ROOT, "src"), { recursive: true })
        .some((file) => String(file).endsWith(`${module}.rs`));
      assert.ok(isThere, `the module ${module}`);
    },
  };

  for (const { place, words } of others) {
    test(place, () => {
      const [program, ...args] = words;
      assert.ok(programs[program], `a program that is known: ${program}`);
      programs[program](args);
    });
  }
});

// What the folders of examples/ say of themselves: the commands in their READMEs exist, what the
// programs import is in their package.json, and what they read from the environment is documented.

"use strict";

const assert = require("node:assert/strict");
const { existsSync, readFileSync, readdirSync, statSync } = require("node:fs");
const { builtinModules } = require("node:module");
const { basename, dirname, join } = require("node:path");
const { describe, it } = require("node:test");
const { EXAMPLES, ROOT, manifestOf } = require("./example");

const NAME = "socket.io-redis-streams-native";
/** What the README of all examples says for all of them. */
const COMMON_VARIABLES = ["REDIS_URL", "HOST", "PORT"];
const OVERVIEW = readFileSync(join(EXAMPLES, "README.md"), "utf8");

/** @param {string} folder @returns {string[]} files at and below it, but what was installed or built */
function filesOf(folder) {
  return readdirSync(folder)
    .filter((name) => !["node_modules", "dist"].includes(name))
    .map((name) => join(folder, name))
    .flatMap((path) => (statSync(path).isDirectory() ? filesOf(path) : [path]));
}

/** Folders with a README of their own, by their names. */
const examples = readdirSync(EXAMPLES).filter((name) =>
  existsSync(join(EXAMPLES, name, "README.md")),
);

/** @param {string} name of an example */
function describeExample(name) {
  const folder = join(EXAMPLES, name);
  const files = filesOf(folder);
  const readme = readFileSync(join(folder, "README.md"), "utf8");
  const packages = files.filter((file) => basename(file) === "package.json").map(dirname);
  const sources = files.filter((file) => /\.[jt]s$/.test(file));
  const commands = [...readme.matchAll(/^```sh\n(.*?)^```$/gms)]
    .flatMap(([, block]) => block.trim().split("\n"))
    // what stands before a command is the environment
    .map((line) => line.replace(/^([A-Z_]+=\S+ )+/, ""));

  it("is in the table of all examples", () => {
    assert.ok(OVERVIEW.includes(`[${name}](${name})`));
  });

  it("has the scripts that its README runs, and the files that these run", () => {
    const scripts = packages.map((path) => manifestOf(path).scripts);
    const run = commands.flatMap((line) => /^npm (start|run \S+)$/.exec(line)?.[1] ?? []);
    assert.ok(run.includes("start"), "npm start is in the README");
    for (const script of run.map((each) => each.replace("run ", ""))) {
      scripts.forEach((each) => assert.ok(each[script], `the script "${script}"`));
    }
    for (const path of packages) {
      for (const [, file] of Object.values(manifestOf(path).scripts)
        .join("\n")
        .matchAll(/node (\S+)/g)) {
        const source = file.replace(/^dist\/(.*)\.js$/, "src/$1.ts");
        assert.ok(existsSync(join(path, source)), `${source} of a script`);
      }
    }
  });

  it("has the files and folders that its README names", () => {
    let at = folder;
    for (const line of commands) {
      for (const [file] of line.matchAll(/(?<=^cd )\S+|\b[\w.]+\.(conf|js|ts)\b/g)) {
        assert.ok(existsSync(join(at, file)), `${file} in "${line}"`);
        at = line.startsWith("cd ") ? join(at, file) : at;
      }
    }
    const inText = readme.replace(/^```.*?^```$/gms, "");
    for (const [, file] of inText.matchAll(/`((?:[\w-]+\/)*[\w.-]+\.(?:conf|js|ts|json))`/g)) {
      // package.json stands for those of the halves too
      const found = files.some((path) => path.endsWith(`/${file}`));
      assert.ok(found, `${file} in the README`);
    }
  });

  it("names the environment variables that it reads", () => {
    for (const source of sources) {
      const code = readFileSync(source, "utf8");
      const destructured = [...code.matchAll(/const \{([^}]*)\} = process\.env/g)].join();
      const names = [
        ...destructured.matchAll(/\b([A-Z_]{2,})\b/g),
        ...code.matchAll(/process\.env\.(\w+)/g),
      ].map(([, variable]) => variable);
      for (const variable of names.filter((each) => !COMMON_VARIABLES.includes(each))) {
        assert.ok(readme.includes(variable), `${variable} is in the README`);
      }
    }
  });

  for (const path of packages) {
    it(`asks in ${path.slice(EXAMPLES.length + 1)}/package.json for what it imports`, () => {
      const manifest = manifestOf(path);
      assert.equal(manifest.private, true);
      const imported = sources
        .filter((source) => source.startsWith(path))
        .flatMap((source) => [
          ...readFileSync(source, "utf8").matchAll(/from "([^."][^"]*)"|^import "([^."]+)"/gm),
        ])
        .map(([, from, alone]) => from ?? alone)
        .filter((each) => !each.startsWith("node:") && !builtinModules.includes(each))
        .map((each) =>
          each
            .split("/")
            .slice(0, each.startsWith("@") ? 2 : 1)
            .join("/"),
        );
      assert.ok(imported.length > 0);
      for (const each of new Set(imported)) {
        assert.ok(manifest.dependencies[each], `${each} is a dependency`);
      }
      const { version } = manifestOf(ROOT);
      const wanted = Object.entries(manifest.dependencies)
        .filter(([dependency, range]) => dependency === NAME || range.startsWith(`npm:${NAME}`))
        .map(([, range]) => range.split("@").at(-1));
      const before = basename(path) === "before";
      assert.deepEqual(wanted, before ? [] : [`^${version}`]);
    });
  }
}

assert.ok(examples.length > 0, "there are examples");
for (const name of examples) {
  describe(`examples/${name}`, () => describeExample(name));
}

describe("the table of all examples", () => {
  it("names folders that exist", () => {
    for (const [, name] of OVERVIEW.matchAll(/\]\(([\w-]+)\)/g)) {
      assert.ok(statSync(join(EXAMPLES, name)).isDirectory(), name);
    }
  });
});

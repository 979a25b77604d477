// The recipes of docs/bundlers.md: the quick ones are run here, all of them by `npm run test:bundlers`,
// which writes them down. What a recipe leads to is deployed into an empty folder, where two nodes of
// it hear each other.

"use strict";

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { after, before, describe, it } = require("node:test");
const { makeProject, runAsNobody, runTool } = require("../bundlers/run");
const { TOOLS } = require("../bundlers/tools");
const packages = require("../helpers/packages");
const { startRedis } = require("../helpers/redis-server");

const QUICK = ["esbuild", "esbuild, ES modules", "Rollup", "ncc", "@vercel/nft"];

const tools = TOOLS.filter(({ name }) => QUICK.includes(name));

describe("the recipes of docs/bundlers.md", () => {
  const document = readFileSync(join(packages.ROOT, "docs", "bundlers.md"), "utf8");
  /** @type {import("../bundlers/run").Project} */
  let project;
  /** @type {import("../helpers/redis-server").RedisServer} */
  let redis;

  before(async () => {
    redis = await startRedis();
    project = await makeProject(
      tools.flatMap((tool) => tool.packages),
      await packages.pack(),
    );
  });

  after(() => redis?.stop());

  it("are those that are run", () => {
    assert.equal(tools.length, QUICK.length);
    for (const { name, command, configuration } of TOOLS) {
      assert.ok(document.includes(`\n${command}\n`), `the command of ${name}`);
      assert.ok(configuration === undefined || document.includes(configuration[1]), name);
    }
  });

  for (const tool of tools) {
    it(`${tool.name}: two bundles hear each other`, () => runTool(tool, project, redis.url));
  }

  const isRoot = process.getuid?.() === 0;
  it(
    "without a bundler: as nobody, where nothing can be written",
    { skip: !isRoot && "only root can become nobody" },
    () => runAsNobody(project, redis.url),
  );
});

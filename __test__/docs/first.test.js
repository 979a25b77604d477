// The first program of README.md does what the text around it promises: two servers, a page in a
// browser for each, and a server that is started before its Redis.

"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");

const { launchChromium } = require("../../scripts/chromium");
const { freePort, startRedis } = require("../helpers/redis-server");
const { waitFor } = require("../helpers/wait");
const { blocksOf, read } = require("./markdown");
const { useOpenRedis } = require("./nodes");
const { makeProject } = require("./project");

const context = useOpenRedis();
const [program] = blocksOf("README.md").filter(({ language }) => language === "js");
const [printed] = blocksOf("README.md").filter(({ language }) => language === "text");

test("README.md has at most 150 lines before its table of documents", () => {
  const [before] = read("README.md").split("\n## Documentation\n");
  assert.ok(before.split("\n").length <= 150);
});

describe("the first program of README.md", () => {
  /** @type {ReturnType<typeof makeProject>} */
  let project;

  before(() => {
    const none = { ports: [], nodes: [{ port: 0 }] };
    project = makeProject({ ...context, cluster: none, sentinel: none });
  });

  after(() => project?.remove());

  test("carries a message from one server's page to the other's", async (t) => {
    const servers = [await project.serve(t, program.code), await project.serve(t, program.code)];
    await Promise.all(servers.map((server) => server.connect()));
    const browser = await launchChromium();
    t.after(() => browser.close());
    const pages = await Promise.all(servers.map(() => browser.newPage()));
    /** @type {string[]} */
    const complaints = [];
    for (const [i, page] of pages.entries()) {
      page.on("pageerror", (error) => complaints.push(String(error)));
      await page.goto(servers[i].state.url);
    }
    for (const [i, page] of pages.entries()) {
      const text = `written in page ${i}`;
      await page.locator("input").fill(text);
      await page.locator("input").press("Enter");
      const { port } = new URL(servers[i].state.url);
      const expected = `${text} (by the server at ${port})`;
      for (const each of pages) {
        await each.getByText(expected).waitFor();
      }
    }
    assert.deepEqual(complaints, []);
  });

  test("started before its Redis, prints the warning, and delivers when Redis is there", async (t) => {
    const redis = await startRedis();
    t.after(() => redis.stop());
    await redis.kill();
    const code = program.code.replace("localhost:6379", `127.0.0.1:${redis.port}`);
    const server = await project.serve(t, code);
    const client = await server.connect();
    const warning = printed.code.trim().replace("localhost:6379", `127.0.0.1:${redis.port}`);
    await waitFor(() => server.state.output.includes(warning), {
      what: () => `"${warning}" in: ${server.state.output}`,
    });
    client.socket.emit("message", "early");
    await redis.restart();
    const [[text]] = await client.receives("message");
    assert.match(text, /^early /);
  });

  test("with hidden warnings, the ways of docs/monitoring.md to see them work", async (t) => {
    const nowhere = `127.0.0.1:${await freePort()}`;
    const listener = blocksOf("docs/monitoring.md").find(({ code }) => code.includes('"warning"'));
    assert.ok(listener, "the listener for warnings");
    const code = program.code.replace("localhost:6379", nowhere);
    const printed = (/** @type {string} */ sign, /** @type {{ output: string }} */ state) =>
      waitFor(() => state.output.includes(sign), { what: () => `${sign} in: ${state.output}` });

    const listening = await project.run(t, `${code}\n${listener.code}`, { NODE_NO_WARNINGS: "1" });
    await printed("ERR_SIO_REDIS_CONNECTION", listening);
    const DEBUG = "socket.io-redis-streams-adapter";
    const debugging = await project.run(t, code, { NODE_NO_WARNINGS: "1", DEBUG });
    await printed("warning ERR_SIO_REDIS_CONNECTION", debugging);
    const hidden = await project.run(
      t,
      `${code}\nprocess.on("warning", () => console.log("warned"));`,
      {
        NODE_NO_WARNINGS: "1",
      },
    );
    await printed("warned", hidden);
    assert.doesNotMatch(hidden.output, /ERR_SIO_REDIS_CONNECTION/, "Node.js prints it nowhere");
  });
});

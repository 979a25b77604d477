// "Containers" and "Kubernetes" of docs/bundlers.md: the Dockerfile and the manifest are valid, and fit
// the server that stands between them. Without Docker, this test does what the Dockerfile says in folders
// in place of stages, and then what a kubelet does with the manifest.

"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const fs = require("node:fs");
const { join } = require("node:path");
const { after, before, describe, test } = require("node:test");
const { Copy, DockerfileParser, From } = require("dockerfile-ast");
const { validate } = require("dockerfile-utils");
const yaml = require("js-yaml");
const ts = require("typescript");

const { makeReadOnly } = require("../bundlers/run");
const { guard } = require("../helpers/guard");
const { ROOT, env, exec, folder, npm, pack } = require("../helpers/packages");
const { freePort, startRedis } = require("../helpers/redis-server");
const { waitFor, within } = require("../helpers/wait");
const { NODE_MAJORS } = require("../../scripts/runtimes");
const { blocksOf } = require("./markdown");

/** @param {string} language @param {RegExp} content */
function blockOf(language, content) {
  const blocks = blocksOf("docs/bundlers.md").filter(
    (block) => block.language === language && content.test(block.code),
  );
  assert.equal(blocks.length, 1, `blocks in ${language} with ${content}`);
  return blocks[0].code;
}

const DOCKERFILE = blockOf("dockerfile", /^FROM/m);
const PROGRAM = blockOf("js", /createAdapter/);
const { spec } = /** @type {{ spec: any }} */ (yaml.load(blockOf("yaml", /readinessProbe/)));
const [container] = spec.containers;

const instructions = DockerfileParser.parse(DOCKERFILE).getInstructions();
const images = instructions.filter((each) => each instanceof From);

/** @param {import("dockerfile-ast").Instruction} instruction */
const wordsOf = (instruction) => instruction.getArguments().map((argument) => argument.getValue());

/**
 * What `docker build` does.
 *
 * @param {string} context the folder
 */
async function build(context) {
  /** @type {Map<string | null, string>} */
  const stages = new Map();
  let [root, workdir, user] = ["", "/", "root"];
  /** @type {string[]} */
  let command = [];
  const inside = (/** @type {string} */ path) =>
    path.startsWith("/") ? join(root, path) : join(root, workdir, path);
  for (const instruction of instructions) {
    const words = wordsOf(instruction);
    if (instruction instanceof From) {
      [root, workdir, user] = [folder("stage-"), "/", "root"];
      stages.set(instruction.getBuildStage(), root);
    } else if (instruction instanceof Copy) {
      const stage = instruction
        .getFlags()
        .find((flag) => flag.getName() === "from")
        ?.getValue();
      const from = stage === undefined ? context : stages.get(stage);
      assert.ok(from, `the stage ${stage}`);
      const paths = words.filter((word) => !word.startsWith("--"));
      const target = inside(/** @type {string} */ (paths.pop()));
      for (const path of paths) {
        const source = join(from, path);
        const isFolder = fs.statSync(source).isDirectory();
        fs.cpSync(source, isFolder ? target : join(target, path), { recursive: true });
      }
    } else {
      switch (instruction.getKeyword()) {
        case "WORKDIR":
          workdir = words[0];
          fs.mkdirSync(inside(""), { recursive: true });
          break;
        case "RUN":
          await exec(inside(""), words[0], [...words.slice(1), "--prefer-offline"]);
          break;
        case "USER":
          user = words[0];
          break;
        default:
          assert.equal(instruction.getKeyword(), "CMD", "an instruction that this test knows");
          command = JSON.parse(instruction.getArgumentsContent() ?? "");
      }
    }
  }
  return { root, cwd: inside(""), command, user };
}

describe("the Dockerfile", () => {
  test("is valid", () => {
    assert.deepEqual(validate(DOCKERFILE), []);
  });

  test("is of images with a Node.js that is tested, and one libc", () => {
    const majors = images.map((image) => Number(/(?:node:|nodejs)(\d+)/.exec(String(image))?.[1]));
    assert.equal(new Set(majors).size, 1, "one Node.js");
    assert.ok(NODE_MAJORS.includes(majors[0]), `Node.js ${majors[0]}`);
    const areAlpine = images.map((image) => String(image).includes("alpine"));
    assert.equal(new Set(areAlpine).size, 1, "one libc");
  });
});

describe("the manifest", () => {
  test("is one that Kubernetes knows all fields of", () => {
    const file = join(ROOT, "__test__", "docs", "pod-spec.ts");
    const source = `import type { PodSpec } from "kubernetes-types/core/v1";
export const spec: PodSpec = ${JSON.stringify(spec)};`;
    const options = { noEmit: true, strict: true, types: [] };
    const host = ts.createCompilerHost(options);
    const { getSourceFile } = host;
    host.getSourceFile = (name, ...rest) =>
      name === file
        ? ts.createSourceFile(name, source, ts.ScriptTarget.Latest)
        : getSourceFile(name, ...rest);
    const program = ts.createProgram([file], options, host);
    const mistakes = ts
      .getPreEmitDiagnostics(program)
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
    assert.deepEqual(mistakes, []);
  });

  test("has the port of the server", () => {
    const { httpGet } = container.readinessProbe;
    assert.deepEqual(container.ports, [{ containerPort: httpGet.port }]);
    assert.match(PROGRAM, new RegExp(`\\?\\? ${httpGet.port}\\)`));
  });
});

describe("what the Dockerfile builds", () => {
  /** @type {Awaited<ReturnType<typeof build>>} */
  let image;
  /** @type {Awaited<ReturnType<typeof startRedis>>} */
  let redis;

  before(async () => {
    redis = await startRedis();
    const { main, engine } = await pack();
    const context = folder("context-");
    fs.writeFileSync(join(context, "package.json"), '{ "private": true, "type": "module" }');
    await npm(context, ["install", "socket.io@^4.8.0", main, engine]);
    fs.rmSync(join(context, "node_modules"), { recursive: true });
    fs.writeFileSync(join(context, "server.js"), PROGRAM);
    image = await build(context);
    makeReadOnly(image.root);
  });

  after(() => redis?.stop());

  test("becomes ready, and ends in time, as the manifest runs it", async (t) => {
    const { runAsUser, runAsNonRoot, readOnlyRootFilesystem } = container.securityContext;
    assert.ok(runAsNonRoot && runAsUser > 0 && readOnlyRootFilesystem, "as this test runs it");
    assert.equal(image.user, "nobody");
    const port = await freePort();
    const child = spawn(process.execPath, image.command, {
      cwd: image.cwd,
      env: { ...env, PORT: String(port), REDIS_URL: redis.url },
      ...(process.getuid?.() === 0 && { uid: runAsUser, gid: runAsUser }),
    });
    const release = guard(child);
    const ended = once(child, "exit");
    t.after(async () => {
      child.kill("SIGKILL");
      await ended;
      release();
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (output += text));
    }
    const { path } = container.readinessProbe.httpGet;
    const status = () =>
      fetch(`http://127.0.0.1:${port}${path}`).then(
        (response) => response.status,
        () => undefined,
      );
    await waitFor(async () => (await status()) === 200, { what: () => `a node, not ${output}` });
    await redis.kill();
    await waitFor(async () => (await status()) === 503, { what: "a node that is not ready" });
    await redis.restart();
    await waitFor(async () => (await status()) === 200, { what: "a node that is ready again" });
    child.kill("SIGTERM");
    const limit = spec.terminationGracePeriodSeconds * 1_000;
    const [exitCode] = await within(ended, "the node's end", limit);
    assert.equal(exitCode, 0, output);
  });
});

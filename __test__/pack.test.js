// The tarballs of `npm run pack`, as users get them: what is in them, and that they work in an empty
// project on a machine without Rust. Needs the npm registry, for socket.io.

"use strict";

const assert = require("node:assert/strict");
const { execFile, spawn } = require("node:child_process");
const fs = require("node:fs");
const { tmpdir } = require("node:os");
const { delimiter, join } = require("node:path");
const { after, before, describe, it } = require("node:test");
const { promisify } = require("node:util");
const { SUPPORTED, binaryName, packageName, platformId } = require("../lib/platform");
const { guard } = require("./helpers/guard");
const { startRedis } = require("./helpers/redis-server");
const { connectClient } = require("./helpers/socket-client");
const { waitFor, within } = require("./helpers/wait");

const ROOT = join(__dirname, "..");
const NAME = "socket.io-redis-streams-native";
const ALIAS = "@socket.io/redis-streams-adapter";
const PLATFORM = platformId();
/** @type {Record<string, any>} */
const manifest = require("../package.json");

/** npm asks the registry for a few dozen packages. */
const INSTALL_LIMIT = 120_000;

/** Everything of this file, removed at its end. */
const work = fs.mkdtempSync(join(tmpdir(), "sio-pack-test-"));

const exec = promisify(execFile);

/**
 * A PATH with npm and what it needs, and without cargo wherever that is.
 *
 * @returns {string}
 */
function pathWithoutCargo() {
  const folder = join(work, "bin");
  fs.mkdirSync(folder);
  const folders = (process.env.PATH ?? "").split(delimiter);
  const find = (/** @type {string} */ program) => {
    const found = folders.map((each) => join(each, program)).find((path) => fs.existsSync(path));
    assert(found, `${program} is on PATH`);
    return fs.realpathSync(found);
  };
  fs.symlinkSync(process.execPath, join(folder, "node"));
  for (const program of ["npm", "sh"]) {
    fs.symlinkSync(find(program), join(folder, program));
  }
  return folder;
}

const env = { ...process.env, PATH: pathWithoutCargo() };

/**
 * @param {string} folder
 * @param {string[]} args
 */
function npm(folder, args) {
  // The packages of the repository were installed a moment ago: what npm keeps of them will do.
  return exec("npm", [...args, "--prefer-offline"], { cwd: folder, env, timeout: INSTALL_LIMIT });
}

/** @param {string[]} args */
async function pack(...args) {
  const out = fs.mkdtempSync(join(work, "dist-"));
  await exec("npm", ["run", "pack", "--", "--out", out, ...args], { cwd: ROOT });
  const main = join(out, `${NAME}-${manifest.version}.tgz`);
  const engine = join(out, `${packageName(PLATFORM)}-${manifest.version}.tgz`);
  assert.deepEqual(
    fs.readdirSync(out).sort(),
    [main, engine].map((p) => p.slice(out.length + 1)),
  );
  return { main, engine };
}

/** @param {string} tarball */
async function contents(tarball) {
  const { stdout } = await exec("tar", ["-tzf", tarball]);
  const files = stdout.trim().split("\n").sort();
  return files.map((file) => file.replace(/^package\//, ""));
}

/** @param {string} tarball */
async function packedManifest(tarball) {
  const { stdout } = await exec("tar", ["-xzOf", tarball, "package/package.json"]);
  return JSON.parse(stdout);
}

/**
 * @param {string[]} packages as `npm install` takes them
 * @returns {Promise<string>} the folder of a project that has them
 */
async function project(...packages) {
  const folder = fs.mkdtempSync(join(work, "project-"));
  await npm(folder, ["install", "socket.io@^4.8.0", ...packages]);
  return folder;
}

const NODE = `
const io = new Server(0, { adapter: createAdapter(process.env.REDIS_URL) });
io.on("connection", (socket) => {
  socket.on("say", (words) => io.emit("said", words));
});
io.httpServer.on("listening", () => console.log(io.httpServer.address().port));
process.stdin.on("end", () => io.close()).resume();
`;

const SOURCES = {
  cjs: (/** @type {string} */ name) => `
    const { Server } = require("socket.io");
    const { createAdapter } = require("${name}");
    ${NODE}`,
  mjs: (/** @type {string} */ name) => `
    import { Server } from "socket.io";
    import { createAdapter } from "${name}";
    ${NODE}`,
};

/**
 * @param {string} folder of the project
 * @param {keyof typeof SOURCES} format
 * @param {string} name by which the package was installed
 * @param {string} redisUrl
 */
async function startNode(folder, format, name, redisUrl) {
  const file = join(folder, `node.${format}`);
  fs.writeFileSync(file, SOURCES[format](name));
  const child = spawn(process.execPath, [file], {
    cwd: folder,
    env: { ...env, REDIS_URL: redisUrl },
  });
  const release = guard(child);
  const exited = new Promise((resolve) => child.once("exit", resolve));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => (output += text));
  }
  const port = await waitFor(
    () => {
      assert.equal(child.exitCode, null, output);
      return /^\d+$/m.exec(output)?.[0];
    },
    { what: () => `the port in: ${output}` },
  );
  return {
    url: `http://127.0.0.1:${port}`,
    /** Ends by itself once its server is closed. */
    async close() {
      child.stdin.end();
      assert.equal(await within(exited, "the node's end"), 0, output);
      release();
    },
  };
}

/**
 * Two nodes in the project, one with `require`, one with `import`, and a message in each direction.
 *
 * @param {string} folder
 * @param {string} name
 * @param {string} redisUrl
 */
async function messagesCross(folder, name, redisUrl) {
  const nodes = await Promise.all([
    startNode(folder, "cjs", name, redisUrl),
    startNode(folder, "mjs", name, redisUrl),
  ]);
  const [a, b] = await Promise.all(nodes.map((node) => connectClient(node.url)));
  a.socket.emit("say", "from a");
  await b.receives("said");
  b.socket.emit("say", "from b");
  const words = (await a.receives("said", 2)).map(([said]) => said);
  assert.deepEqual(words, ["from a", "from b"]);
  a.disconnect();
  b.disconnect();
  await Promise.all(nodes.map((node) => node.close()));
}

/**
 * Loads the package in a process of its own, which must fail.
 *
 * @param {string} folder
 * @param {string} [first] code to run before
 * @returns {Promise<{ code: string, message: string, hasCause: boolean }>}
 */
async function loadError(folder, first = "") {
  const script = `${first}
    try {
      require("${NAME}");
    } catch ({ code, message, cause }) {
      console.log(JSON.stringify({ code, message, hasCause: cause instanceof Error }));
    }`;
  const { stdout } = await exec(process.execPath, ["-e", script], { cwd: folder, env });
  assert.notEqual(stdout, "", "the package loaded");
  return JSON.parse(stdout);
}

after(() => fs.rmSync(work, { recursive: true, force: true }));

describe("the platform packages under npm/", () => {
  it("are those that the loader knows and package.json builds", () => {
    const folders = fs.readdirSync(join(ROOT, "npm"));
    assert.deepEqual(folders.sort(), [...SUPPORTED].sort());
    const targets = folders.map((folder) => {
      const readme = fs.readFileSync(join(ROOT, "npm", folder, "README.md"), "utf8");
      return /\*\*(\S+)\*\*/.exec(readme)?.[1];
    });
    assert.deepEqual(targets.sort(), [...manifest.napi.targets].sort());
  });

  for (const platform of SUPPORTED) {
    it(`${platform} is installed there only, at this version`, () => {
      const theirs = require(`../npm/${platform}/package.json`);
      const [os, cpu, abi] = platform.split("-");
      const libc = { gnu: ["glibc"], musl: ["musl"] }[abi ?? ""];
      assert.equal(theirs.name, packageName(platform));
      assert.equal(theirs.version, manifest.version);
      assert.equal(theirs.main, binaryName(platform));
      assert.deepEqual(theirs.files, [binaryName(platform)]);
      assert.deepEqual([theirs.os, theirs.cpu, theirs.libc], [[os], [cpu], libc]);
      assert.deepEqual(theirs.engines, manifest.engines);
    });
  }
});

describe("npm run pack", () => {
  /** @type {{ main: string, engine: string }} */
  let tarballs;
  /** @type {import("./helpers/redis-server").RedisServer} */
  let redis;
  /** A project with the tarballs. @type {string} */
  let plain;

  before(async () => {
    redis = await startRedis();
    tarballs = await pack();
    plain = await project(tarballs.main, tarballs.engine);
  });

  after(() => redis?.stop());

  it("packs what users need and nothing else", async () => {
    const lib = fs
      .readdirSync(join(ROOT, "lib"), { recursive: true })
      .map((file) => `lib/${String(file).replaceAll("\\", "/")}`)
      .filter((file) => file.endsWith(".js"));
    const texts = ["CHANGELOG.md", "LICENSE", "README.md"];
    assert.deepEqual(
      await contents(tarballs.main),
      [
        ...[...texts, "index.d.ts", "index.js", "metrics.d.ts", "metrics.js", "package.json"],
        ...lib,
      ].sort(),
    );
    assert.deepEqual(
      await contents(tarballs.engine),
      ["LICENSE", "README.md", "package.json", binaryName(PLATFORM)].sort(),
    );
  });

  it("leaves the developers' part out of package.json and names the engine", async () => {
    const { optionalDependencies, ...packed } = await packedManifest(tarballs.main);
    assert.deepEqual(optionalDependencies, { [packageName(PLATFORM)]: manifest.version });
    for (const key of ["scripts", "devDependencies", "napi", "overrides"]) {
      assert.equal(packed[key], undefined, key);
    }
    for (const key of Object.keys(packed)) {
      assert.deepEqual(packed[key], manifest[key], key);
    }
    for (const key of ["name", "version", "exports", "dependencies", "peerDependencies"]) {
      assert.ok(packed[key], key);
    }
  });

  it("gives a package that works in an empty project without Rust", async () => {
    await messagesCross(plain, NAME, redis.url);
  });

  it("gives a project whose lock file `npm ci` accepts", async () => {
    await npm(plain, ["ci"]);
    await messagesCross(plain, NAME, redis.url);
  });

  it("works under upstream's name", async () => {
    const folder = await project(`${ALIAS}@file:${tarballs.main}`, tarballs.engine);
    assert.equal(require(join(folder, "node_modules", ALIAS, "package.json")).name, NAME);
    await messagesCross(folder, ALIAS, redis.url);
  });

  it("names all engines for a registry, and installs where the others cannot be had", async () => {
    const { main, engine } = await pack("--for-registry");
    const { optionalDependencies } = await packedManifest(main);
    const all = SUPPORTED.map((platform) => [packageName(platform), manifest.version]);
    assert.deepEqual(optionalDependencies, Object.fromEntries(all));

    const folder = await project(main, engine);
    const installed = fs.readdirSync(join(folder, "node_modules"));
    const engines = installed.filter((name) => name.startsWith(packageName("")));
    assert.deepEqual(engines, [packageName(PLATFORM)]);
    await messagesCross(folder, NAME, redis.url);
  });

  it("has types that a strict TypeScript project accepts, and that refuse mistakes", async () => {
    const code = `
      import { Server } from "socket.io";
      import { createAdapter, type RedisStreamsAdapterOptions } from "${NAME}";
      const options: RedisStreamsAdapterOptions = { streamName: "chat", maxLen: 1_000 };
      const io: Server = new Server({ adapter: createAdapter("redis://localhost", options) });
      createAdapter({ host: "localhost", port: 6379 });
      // @ts-expect-error
      createAdapter("redis://localhost", { maxLen: "many" });
      // @ts-expect-error
      createAdapter();
      void io.close();
    `;
    for (const file of ["consumer.mts", "consumer.cts"]) {
      fs.writeFileSync(join(plain, file), code);
    }
    const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
    const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022"];
    await exec(process.execPath, [tsc, ...options, "consumer.mts", "consumer.cts"], {
      cwd: plain,
    }).catch(({ stdout }) => assert.fail(stdout));
  });

  describe("where the engine cannot be loaded", () => {
    /** @param {() => Promise<void>} check run while the engine's package is moved away */
    async function withoutEngine(check) {
      const engine = join(plain, "node_modules", packageName(PLATFORM));
      fs.renameSync(engine, `${engine}.away`);
      try {
        await check();
      } finally {
        fs.rmSync(engine, { recursive: true, force: true });
        fs.renameSync(`${engine}.away`, engine);
      }
    }

    /** @param {{ version: string, binary: string }} content */
    function fakeEngine({ version, binary }) {
      const folder = join(plain, "node_modules", packageName(PLATFORM));
      fs.mkdirSync(folder);
      const main = binaryName(PLATFORM);
      fs.writeFileSync(join(folder, "package.json"), JSON.stringify({ version, main }));
      fs.writeFileSync(join(folder, main), binary);
    }

    it("names a platform without one, and those with one", async () => {
      const error = await loadError(
        plain,
        'Object.defineProperty(process, "arch", { value: "ppc64" });',
      );
      assert.equal(error.code, "ERR_SIO_REDIS_NATIVE");
      assert.match(error.message, new RegExp(PLATFORM.replace(process.arch, "ppc64")));
      SUPPORTED.forEach((platform) => assert.ok(error.message.includes(platform), platform));
      assert.match(error.message, /npm run build/);
      assert.equal(error.hasCause, true);
    });

    it("tells musl from glibc by what Node.js runs on", async () => {
      const error = await loadError(
        plain,
        `Object.defineProperty(process, "platform", { value: "linux" });
         Object.defineProperty(process, "arch", { value: "x64" });
         process.report.getReport = () => ({ header: {} });`,
      );
      assert.match(error.message, /socket\.io-redis-streams-native-linux-x64-musl is missing/);
    });

    it("says how to add a package that was left out", async () => {
      await withoutEngine(async () => {
        const error = await loadError(plain);
        assert.equal(error.code, "ERR_SIO_REDIS_NATIVE");
        const command = `npm install ${packageName(PLATFORM)}@${manifest.version}`;
        assert.ok(error.message.includes(command), error.message);
        assert.match(error.message, /--omit=optional/);
        assert.equal(error.hasCause, true);
      });
    });

    it("gives the cause when the system refuses the binary", async () => {
      await withoutEngine(async () => {
        fakeEngine({ version: manifest.version, binary: "no shared library" });
        const error = await loadError(plain);
        assert.equal(error.code, "ERR_SIO_REDIS_NATIVE");
        assert.match(error.message, new RegExp(`${PLATFORM}.*cannot be loaded: .+`));
        assert.equal(error.hasCause, true);
      });
    });

    it("refuses the engine of another version", async () => {
      await withoutEngine(async () => {
        fakeEngine({ version: "0.0.1", binary: "" });
        const error = await loadError(plain);
        assert.equal(error.code, "ERR_SIO_REDIS_NATIVE");
        assert.match(error.message, new RegExp(`0\\.0\\.1.*${manifest.version} is needed`));
      });
    });
  });
});

// What `npm start`, `npm test` and `npm run build` do before their job: they install and build what
// is missing or out of date, and nothing else. Programs that record their arguments stand in for
// npm, napi and the package managers; __test__/package and start.test.js use the real ones.

"use strict";

const assert = require("node:assert/strict");
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const { tmpdir } = require("node:os");
const { dirname, join } = require("node:path");
const { afterEach, beforeEach, describe, it } = require("node:test");
const { binaryName, platformId } = require("../lib/platform");

const BINARY = binaryName(platformId());
const TYPES = "lib/native-binding.d.ts";

/** A clone with our scripts and nothing installed. @type {string} */
let clone;
/** The only folder on PATH. @type {string} */
let bin;

/**
 * @param {string} path inside the clone
 * @param {string | object} content
 */
function write(path, content) {
  const file = join(clone, path);
  fs.mkdirSync(dirname(file), { recursive: true });
  fs.writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
}

/**
 * A program on PATH.
 *
 * @param {string} name
 * @param {string} [script] of the shell
 */
function program(name, script = "") {
  fs.writeFileSync(
    join(bin, name),
    `#!/bin/sh\necho "${name} $*" >> ${join(clone, "calls")}\n${script}`,
    { mode: 0o755 },
  );
}

/** @returns {string[]} what was run since the last time, with its arguments */
function calls() {
  const file = join(clone, "calls");
  const lines = fs.existsSync(file) ? fs.readFileSync(file, "utf8").trim().split("\n") : [];
  fs.rmSync(file, { force: true });
  return lines;
}

/**
 * @param {string} expression after `require("./scripts/`
 * @param {string} [first] code to run before
 */
function run(expression, first = "") {
  const code = `${first}; require("./scripts/run").main({}, () => { require("./scripts/${expression}; })`;
  const { npm_execpath, ...env } = process.env;
  const { stdout, stderr, status } = spawnSync(process.execPath, ["-e", code], {
    cwd: clone,
    env: { ...env, PATH: bin, HOME: clone },
    encoding: "utf8",
  });
  return { output: stdout + stderr, status };
}

beforeEach(() => {
  clone = fs.mkdtempSync(join(tmpdir(), "sio-setup-"));
  bin = join(clone, "bin");
  fs.mkdirSync(bin);
  for (const path of ["scripts", "lib/platform.js", "node_modules/detect-libc"]) {
    fs.cpSync(join(__dirname, "..", path), join(clone, path), { recursive: true });
  }
});

afterEach(() => fs.rmSync(clone, { recursive: true, force: true }));

describe("the npm packages", () => {
  const lock = {
    packages: {
      "": { version: "0.1.0" },
      "node_modules/a": { version: "1.0.0" },
      "node_modules/for-another-platform": { version: "1.0.0", optional: true },
      ...workspace("example"),
    },
  };
  /**
   * @param {string} version
   * @param {object} [workspaces]
   */
  function installed(version, workspaces = workspace("example")) {
    const packages = { "node_modules/a": { version }, ...workspaces };
    write("node_modules/.package-lock.json", { packages });
  }

  /** @param {string} name */
  function workspace(name) {
    const resolved = `examples/${name}`;
    return { [resolved]: { name }, [`node_modules/${name}`]: { resolved, link: true } };
  }

  beforeEach(() => {
    program("npm");
    write("package-lock.json", lock);
  });

  it("are installed in a fresh clone, as the lock file has them", () => {
    const { output, status } = run('install-packages").installPackages()');
    assert.equal(status, 0, output);
    assert.deepEqual(calls(), ["npm ci"]);
  });

  it("are left alone when they are complete", () => {
    installed("1.0.0");
    run('install-packages").installPackages()');
    assert.deepEqual(calls(), []);
  });

  it("are updated when the lock file has another version", () => {
    installed("0.9.0");
    run('install-packages").installPackages()');
    assert.deepEqual(calls(), ["npm install"]);
  });

  it("are updated when the lock file has another workspace", () => {
    installed("1.0.0", {});
    run('install-packages").installPackages()');
    assert.deepEqual(calls(), ["npm install"]);
  });

  it("are a failure when npm fails", () => {
    program("npm", "exit 1");
    const { output, status } = run('install-packages").installPackages()');
    assert.equal(status, 1);
    assert.match(output, /failed: npm ci/);
  });
});

describe("the engine", () => {
  const sources = ["Cargo.toml", "Cargo.lock", "build.rs", "src/lib.rs", "src/deep/down/mod.rs"];

  /**
   * @param {string} path
   * @param {number} minutesAgo
   */
  function changed(path, minutesAgo) {
    const time = Date.now() / 1_000 - 60 * minutesAgo;
    fs.utimesSync(join(clone, path), time, time);
  }

  beforeEach(() => {
    program("cargo");
    sources.forEach((path) => write(path, ""));
    ["src", "src/deep", "src/deep/down", ...sources].forEach((path) => changed(path, 10));
    write(
      "node_modules/@napi-rs/cli/dist/cli.js",
      `const fs = require("node:fs");
       fs.appendFileSync("calls", "napi " + process.argv.slice(2).join(" ") + "\\n");
       fs.writeFileSync("${BINARY}", "");
       fs.writeFileSync("${TYPES}", "");`,
    );
    write("node_modules/prettier/bin/prettier.cjs", "");
  });

  /**
   * @param {string} [options] as code
   * @returns {string[]}
   */
  function build(options = "") {
    const { output, status } = run(`build").build(${options})`);
    assert.equal(status, 0, output);
    return calls();
  }

  it("is built in a fresh clone, and not a second time", () => {
    assert.deepEqual(build(), [`napi build --platform --release --no-js --dts ${TYPES}`]);
    assert.deepEqual(build(), []);
  });

  for (const path of [...sources, "src/deep"]) {
    it(`is built again after a change of ${path}`, () => {
      build();
      changed(BINARY, 5);
      assert.deepEqual(build(), [], "older than nothing");
      changed(path, 4);
      assert.equal(build().length, 1);
    });
  }

  it("is built again when its types are missing", () => {
    build();
    fs.rmSync(join(clone, TYPES));
    assert.equal(build().length, 1);
  });

  it("is built with the cargo of rustup when that is not on PATH yet", () => {
    fs.mkdirSync(join(clone, ".cargo", "bin"), { recursive: true });
    fs.renameSync(join(bin, "cargo"), join(clone, ".cargo", "bin", "cargo"));
    assert.equal(build().length, 1);
  });

  it("says that Rust is needed", () => {
    fs.rmSync(join(bin, "cargo"));
    const { output, status } = run('build").build()');
    assert.equal(status, 1);
    assert.match(output, /^Rust is needed to build the engine: .*\n$/);
    assert.deepEqual(calls(), []);
  });
});

describe("the engine for others", { skip: !platformId().endsWith("-gnu") }, () => {
  const PORTABLE = "{ portable: true }";

  /** @param {string} glibc what `readelf` finds that a binary asks for, as it is built here */
  function prepare(glibc) {
    program("cargo");
    program("readelf", `echo "  0x0010: Name: GLIBC_2.9 Name: GLIBC_${glibc}"`);
    program("python3", `/bin/mkdir -p ${clone}/target/zigbuild`);
    ["Cargo.toml", "Cargo.lock", "build.rs", "src/lib.rs"].forEach((path) => write(path, ""));
    write(
      "node_modules/@napi-rs/cli/dist/cli.js",
      `const fs = require("node:fs");
       const args = process.argv.slice(2).join(" ");
       const zig = process.env.CARGO_ZIGBUILD_ZIG_PATH ? " with zig" : "";
       fs.appendFileSync("calls", "napi " + args + zig + "\\n");
       for (const name of ["${BINARY}", "${BINARY.replace(/linux-.*-gnu/, "linux-arm64-musl")}"]) {
         fs.writeFileSync(name, "");
       }
       fs.writeFileSync("${TYPES}", "");`,
    );
    write("node_modules/prettier/bin/prettier.cjs", "");
  }

  /** @param {string} [options] as code */
  function build(options = "") {
    const { output, status } = run(`build").build(${options})`);
    assert.equal(status, 0, output);
    return calls().filter((call) => !call.startsWith("readelf"));
  }

  const pip = /^python3 -m pip install .*--require-hashes --requirement .*requirements\.txt$/;
  const target = `${process.arch === "x64" ? "x86_64" : "aarch64"}-unknown-linux-gnu`;

  it("is linked for an older glibc, by tools that are fetched once", () => {
    prepare("2.28");
    const [python, napi, ...more] = build(PORTABLE);
    assert.match(python, pip);
    assert.match(napi, new RegExp(` --cross-compile --target ${target}\\.2\\.28 with zig$`));
    assert.deepEqual(more, []);
    assert.deepEqual(build(PORTABLE), [], "nor built a second time");
    assert.deepEqual(build(), [], "it does for this machine as well");
    fs.rmSync(join(clone, BINARY));
    assert.equal(build(PORTABLE).length, 1);
  });

  it("is built again where the one that is there asks for a newer glibc", () => {
    prepare("2.34");
    assert.doesNotMatch(build().join(), /zig/);
    assert.deepEqual(build(), []);
    assert.match(build(PORTABLE).join(), /zig/);
  });

  it("is not packed where it asks for a newer glibc all the same", () => {
    prepare("2.34");
    write("node_modules/.package-lock.json", { packages: {} });
    write("package-lock.json", { packages: {} });
    write("package.json", { name: "x", version: "1.0.0", files: [] });
    const { output, status } = run('pack")');
    assert.equal(status, 1);
    assert.match(output, /asks for glibc 2\.34, where 2\.28 has to do/);
  });

  it("is built for the other platforms under npm/ as well, and for no other", () => {
    prepare("2.28");
    program("rustup");
    const calls = build('{ platform: "linux-arm64-musl" }');
    assert.ok(calls.includes("rustup target add aarch64-unknown-linux-musl"));
    assert.match(calls.at(-1) ?? "", /--target aarch64-unknown-linux-musl with zig$/);
    const { output, status } = run('build").build({ platform: "plan9-x64" })');
    assert.equal(status, 1);
    assert.match(output, /No platform is called plan9-x64; there are linux-x64-gnu/);
  });

  it("asks for Python where there is none", () => {
    prepare("2.28");
    fs.rmSync(join(bin, "python3"));
    const { output, status } = run(`build").build(${PORTABLE})`);
    assert.equal(status, 1);
    assert.match(output, /^Python 3 with pip is needed/);
  });
});

describe("redis-server", () => {
  const INSTALL = 'system-package").installProgram("redis")';
  const AS_ROOT = "process.getuid = () => 0";
  const AS_USER = "process.getuid = () => 1000";
  /** What a package manager does in the end. */
  const install = () => `printf '#!/bin/sh' > ${join(bin, "redis-server")}
    /bin/chmod +x ${join(bin, "redis-server")}`;

  it("is left alone when it is on PATH", () => {
    program("redis-server");
    program("apt-get");
    assert.equal(run(INSTALL, AS_ROOT).status, 0);
    assert.deepEqual(calls(), []);
  });

  /** @type {[string, string[]][]} */
  const managers = [
    ["apt-get", ["update", "install -y --no-install-recommends redis-server"]],
    ["dnf", ["install -y /usr/bin/redis-server"]],
    ["apk", ["add redis"]],
    ["brew", ["install redis"]],
  ];
  for (const [manager, commands] of managers) {
    it(`is installed with ${manager} where that is the package manager`, () => {
      program(manager, `case "$*" in *redis*) ${install()} ;; esac`);
      const { output, status } = run(INSTALL, manager === "brew" ? AS_USER : AS_ROOT);
      assert.equal(status, 0, output);
      assert.deepEqual(
        calls(),
        commands.map((command) => `${manager} ${command}`),
      );
    });
  }

  it("is installed with sudo where that asks for no password", () => {
    program("apk", install());
    program("sudo", 'shift; case "$1" in true) exit 0 ;; esac; exec "$@"');
    const { output, status } = run(INSTALL, AS_USER);
    assert.equal(status, 0, output);
    const [, sudo, apk] = calls();
    assert.match(sudo, /^sudo -n .*apk add redis$/);
    assert.equal(apk, "apk add redis");
  });

  /** @type {[string, () => void][]} */
  const refusals = [
    ["sudo asks for a password", () => (program("apk"), program("sudo", "exit 1"))],
    ["there is no sudo", () => program("apk")],
    ["there is no package manager that we know", () => {}],
  ];
  for (const [reason, prepare] of refusals) {
    it(`is asked for in one line where ${reason}`, () => {
      prepare();
      const { output, status } = run(INSTALL, AS_USER);
      assert.equal(status, 1);
      assert.match(output, /^redis-server is needed: .*\n$/);
      assert.ok(!calls().some((call) => call.startsWith("apk")));
    });
  }

  it("is asked for where the package manager fails", () => {
    program("apk", "exit 1");
    const { output, status } = run(INSTALL, AS_ROOT);
    assert.equal(status, 1);
    assert.match(output, /redis-server is needed/);
  });
});

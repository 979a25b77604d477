// The project that the nodes of all runtimes run in: the packed package as users install it, with
// Socket.IO and Redis clients out of the registry.

"use strict";

const fs = require("node:fs");
const { tmpdir } = require("node:os");
const { join, resolve } = require("node:path");
const { packageName, platformId } = require("../../lib/platform");
const { ScriptError, npm, run, ROOT } = require("../../scripts/run");

/** Only these run in Node.js 18; package.json says which versions of them are tested elsewhere. */
const { name, version, devDependencies } = require("../../package.json");
const PACKAGES = [
  `socket.io@${devDependencies["socket.io"]}`,
  devDependencies["redis-5"].replace("npm:", ""),
  devDependencies["ioredis-5"].replace("npm:", ""),
  `prom-client@${devDependencies["prom-client"]}`,
  "@socket.io/bun-engine@^0.1.2",
];

const MAIN = "node-main.js";
const SOURCES = {
  "node.mjs": `
import { Server } from "socket.io";
import { createAdapter } from "socket.io-redis-streams-native";
import { runNode } from "./${MAIN}";
runNode({ Server, createAdapter }, process.argv[2]);
`,
  "node.cjs": `
const { Server } = require("socket.io");
const { createAdapter } = require("socket.io-redis-streams-native");
const { runNode } = require("./${MAIN}");
runNode({ Server, createAdapter }, process.argv[2]);
`,
};
/** Each loads the package in another way. */
const ENTRIES = Object.keys(SOURCES);

/** Emits to a room, and does nothing to be waited for. */
const EMIT = `
const emitter = new Emitter(process.argv[2]);
for (let n = 0; n < Number(process.argv[4]); n++) {
  emitter.to("emitter").emit(process.argv[3], n);
}
`;
const SCRIPTS = {
  "emit.mjs": `import { Emitter } from "socket.io-redis-streams-native";${EMIT}`,
  "emit.cjs": `const { Emitter } = require("socket.io-redis-streams-native");${EMIT}`,
};
const EMITTERS = Object.keys(SCRIPTS);

/**
 * @param {string} folder may hold those of other platforms as well
 * @returns {string[]} the tarballs that this platform needs
 */
function tarballsIn(folder) {
  const tarballs = [name, packageName(platformId())].map((each) =>
    join(folder, `${each}-${version}.tgz`),
  );
  const missing = tarballs.find((tarball) => !fs.existsSync(tarball));
  if (missing !== undefined) {
    throw new ScriptError(`${missing} is missing: \`npm run pack\` makes it`);
  }
  return tarballs;
}

/**
 * @param {string} [tarballs] a folder that holds them; they are packed when there is none
 * @returns {string} its folder, which is removed when this process ends
 */
function makeProject(tarballs) {
  const folder = fs.mkdtempSync(join(tmpdir(), "sio-runtimes-"));
  process.on("exit", () => fs.rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  const packed = tarballs === undefined ? join(folder, "packed") : resolve(ROOT, tarballs);
  if (tarballs === undefined) {
    run(process.execPath, [join(ROOT, "scripts", "pack.js"), "--out", packed]);
  }
  const manifest = { private: true, type: "commonjs" };
  fs.writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
  const quietly = ["--prefer-offline", "--loglevel=error"];
  npm(["install", ...quietly, ...PACKAGES, ...tarballsIn(packed)], { cwd: folder });
  fs.copyFileSync(join(__dirname, MAIN), join(folder, MAIN));
  for (const [file, source] of Object.entries({ ...SOURCES, ...SCRIPTS })) {
    fs.writeFileSync(join(folder, file), source.trimStart());
  }
  return folder;
}

module.exports = { EMITTERS, ENTRIES, makeProject };

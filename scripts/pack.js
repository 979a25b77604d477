"use strict";
// `npm run pack`: packs the tarballs that this platform needs into tarballs/: the main package and the
// engine for this platform. Installed together, they work without Rust.
//
//     npm run pack -- --for-registry     the main package depends on the engines of all platforms
//     npm run pack -- --all              also the packages of all platforms whose binaries exist here
//     npm run pack -- --this-machine     the engine as `npm run build` makes it: on Linux it may need a
//                                        newer glibc than other systems have
//     npm run pack -- --out folder       instead of tarballs/

const fs = require("node:fs");
const { tmpdir } = require("node:os");
const { basename, join, resolve } = require("node:path");

const { SUPPORTED, binaryName, packageName, platformId } = require("../lib/platform");
const { TYPES, asksForGlibc, binaryPath, build } = require("./build");
const { OLDEST_GLIBC, glibcNeeded, runsOnOldestGlibc } = require("./glibc");
const { FILE: NOTICES } = require("./notices");
const { ROOT, ScriptError, npm, main } = require("./run");
const { installPackages } = require("./install-packages");

/** The files that npm adds to a package besides its `files`. */
const ALWAYS = ["README.md", "LICENSE"];
/** The parts of package.json that only developers need. */
const FOR_DEVELOPERS = ["scripts", "devDependencies", "overrides", "napi", "workspaces"];

/** Types that only the code in the checkout needs. */
const FOR_TSC = [TYPES, "lib/native-packages.d.ts"];

/** @param {string} folder */
function readManifest(folder) {
  return JSON.parse(fs.readFileSync(join(folder, "package.json"), "utf8"));
}

/** @param {string} folder @param {Record<string, any>} manifest */
function writeManifest(folder, manifest) {
  fs.writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

/**
 * The manifest of the published package. For a registry, the engines are optional dependencies: package
 * managers install the one for their platform.
 *
 * Otherwise they are optional peers: a user who installs tarballs names the engine's tarball too, and no
 * package manager looks in a registry for any engine. The manifest names no particular platform. So the
 * tarball is the same wherever it is packed, and several platforms can share a lock file.
 *
 * @param {Record<string, any>} manifest
 * @param {boolean} forRegistry
 */
function publishedManifest(manifest, forRegistry) {
  const kept = Object.fromEntries(
    Object.entries(manifest).filter(([key]) => !FOR_DEVELOPERS.includes(key)),
  );
  /** @type {<T>(value: T) => Record<string, T>} */
  const forEach = (value) =>
    Object.fromEntries(SUPPORTED.map((each) => [packageName(each), value]));
  if (forRegistry) {
    return { ...kept, optionalDependencies: forEach(manifest.version) };
  }
  return {
    ...kept,
    peerDependencies: { ...kept.peerDependencies, ...forEach(manifest.version) },
    peerDependenciesMeta: { ...kept.peerDependenciesMeta, ...forEach({ optional: true }) },
  };
}

/**
 * @param {string} from
 * @param {string} to
 */
function copy(from, to) {
  if (fs.existsSync(from)) {
    const filter = (/** @type {string} */ path) =>
      !FOR_TSC.some((file) => path === join(ROOT, file));
    fs.cpSync(from, to, { recursive: true, filter });
  }
}

/**
 * @param {string} folder where to assemble the main package
 * @param {boolean} forRegistry
 */
function stageMain(folder, forRegistry) {
  const manifest = readManifest(ROOT);
  fs.mkdirSync(folder);
  for (const file of [...manifest.files, ...ALWAYS]) {
    copy(join(ROOT, file), join(folder, file));
  }
  writeManifest(folder, publishedManifest(manifest, forRegistry));
}

/**
 * @param {string} folder where to assemble the platform's package
 * @param {string} platform
 */
function stagePlatform(folder, platform) {
  const source = join(ROOT, "npm", platform);
  const { version } = readManifest(source);
  if (version !== readManifest(ROOT).version) {
    throw new ScriptError(`The versions in package.json and npm/${platform} differ`);
  }
  copy(source, folder);
  copy(binaryPath(platform), join(folder, binaryName(platform)));
  copy(join(ROOT, "LICENSE"), join(folder, "LICENSE"));
  copy(NOTICES, join(folder, basename(NOTICES)));
  // napi writes this manifest, and it lists only the binary.
  const { files, ...manifest } = readManifest(folder);
  writeManifest(folder, { ...manifest, files: [...files, basename(NOTICES)] });
}

/**
 * Refuses a binary that other systems cannot load, whatever built it.
 *
 * @param {string} platform
 */
function requirePortable(platform) {
  const binary = binaryPath(platform);
  if (!fs.existsSync(binary)) {
    throw new ScriptError(`${binary} is missing: npm run build -- --platform ${platform}`);
  }
  if (asksForGlibc(platform) && !runsOnOldestGlibc(binary)) {
    throw new ScriptError(
      `${binary} asks for glibc ${glibcNeeded(binary)}, where ${OLDEST_GLIBC} has to do: ` +
        "npm run build -- --portable",
    );
  }
}

/**
 * Tarballs of an earlier version would be installed together with the new ones.
 *
 * @param {string} out
 */
function removeTarballs(out) {
  const prefix = `${readManifest(ROOT).name}-`;
  const old = fs.readdirSync(out).filter((name) => name.startsWith(prefix));
  for (const file of old.filter((name) => name.endsWith(".tgz"))) {
    fs.rmSync(join(out, file));
  }
}

/**
 * @param {{ out: string, forRegistry: boolean, platforms: string[] }} what
 */
function pack({ out, forRegistry, platforms }) {
  const staging = fs.mkdtempSync(join(tmpdir(), "sio-pack-"));
  try {
    stageMain(join(staging, "main"), forRegistry);
    platforms.forEach((platform) => stagePlatform(join(staging, platform), platform));

    fs.mkdirSync(out, { recursive: true });
    removeTarballs(out);
    for (const folder of ["main", ...platforms]) {
      const cwd = join(staging, folder);
      npm(["pack", "--loglevel=error", "--pack-destination", out], { cwd });
    }
  } finally {
    fs.rmSync(staging, { recursive: true, force: true });
  }
}

const OPTIONS = /** @type {const} */ ({
  out: { type: "string", default: "tarballs" },
  "for-registry": { type: "boolean", default: false },
  all: { type: "boolean", default: false },
  "this-machine": { type: "boolean", default: false },
});

main({ options: OPTIONS }, ({ values }) => {
  installPackages();
  const here = platformId();
  const portable = !values["this-machine"];
  if (!SUPPORTED.includes(here) && !values.all) {
    throw new ScriptError(`There is no package for ${here} under npm/`);
  }
  if (!values.all) {
    build({ portable });
  }
  const platforms = values.all ? SUPPORTED : [here];
  if (portable) {
    platforms.forEach(requirePortable);
  }
  const forRegistry = values["for-registry"] || values.all;
  pack({ out: resolve(ROOT, values.out), forRegistry, platforms });
});

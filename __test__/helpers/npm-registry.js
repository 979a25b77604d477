// A small npm registry on this machine: it has the packages of this repository, of all platforms, and
// sends whoever asks for another package on to the registry that npm is set up with. So package
// managers choose and install the engine as they will from the real registry.

"use strict";

const { execFile } = require("node:child_process");
const { createHash } = require("node:crypto");
const { once } = require("node:events");
const fs = require("node:fs");
const { createServer } = require("node:http");
const { join } = require("node:path");
const { promisify } = require("node:util");
const { SUPPORTED, binaryName, packageName } = require("../../lib/platform");
const { ROOT, PLATFORM, folder, packedManifest } = require("./packages");

const exec = promisify(execFile);

/** Some package managers do not take what was published a moment ago. */
const PUBLISHED = "2020-01-01T00:00:00.000Z";

/**
 * The package of a platform on which this machine cannot run: its binary is not one.
 *
 * @param {string} platform
 * @returns {Promise<string>} path of the tarball
 */
async function tarballOf(platform) {
  const staging = folder(`${platform}-`);
  fs.cpSync(join(ROOT, "npm", platform), join(staging, "package"), { recursive: true });
  fs.writeFileSync(join(staging, "package", binaryName(platform)), "not built here");
  const tarball = join(staging, `${packageName(platform)}.tgz`);
  await exec("tar", ["-czf", tarball, "-C", staging, "package"]);
  return tarball;
}

/**
 * What a registry answers when it is asked for a package.
 *
 * @param {string} tarball
 * @param {string} url where it can be had
 */
async function packument(tarball, url) {
  const manifest = await packedManifest(tarball);
  const { name, version } = manifest;
  const bytes = fs.readFileSync(tarball);
  const dist = {
    tarball: url,
    shasum: createHash("sha1").update(bytes).digest("hex"),
    integrity: `sha512-${createHash("sha512").update(bytes).digest("base64")}`,
  };
  return {
    name,
    "dist-tags": { latest: version },
    versions: { [version]: { ...manifest, dist } },
    time: { created: PUBLISHED, modified: PUBLISHED, [version]: PUBLISHED },
  };
}

/** @param {import("./packages").Tarballs} tarballs of `npm run pack -- --for-registry` */
async function startRegistry({ main, engine }) {
  const { stdout } = await exec("npm", ["config", "get", "registry"]);
  const others = stdout.trim().replace(/\/$/, "");
  const foreign = await Promise.all(SUPPORTED.filter((each) => each !== PLATFORM).map(tarballOf));

  /** What is served, by path. @type {Map<string, string | Buffer>} */
  const contents = new Map();
  const server = createServer(({ url = "" }, response) => {
    const content = contents.get(url);
    if (content !== undefined) {
      response.end(content);
    } else {
      response.writeHead(302, { location: others + url }).end();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  const url = `http://127.0.0.1:${port}`;

  for (const tarball of [main, engine, ...foreign]) {
    const { name } = await packedManifest(tarball);
    const path = `/${name}/-/${name}.tgz`;
    contents.set(path, fs.readFileSync(tarball));
    contents.set(`/${name}`, JSON.stringify(await packument(tarball, url + path)));
  }
  return {
    url: `${url}/`,
    stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}

module.exports = { startRegistry };

// How each bundler, compiler and tracer makes a program that finds the engine: what docs/bundlers.md
// shows, and what is run.

"use strict";

/**
 * @typedef {object} Tool
 * @property {string} name
 * @property {string} package of the npm registry, whose version is shown
 * @property {string[]} packages that have to be installed
 * @property {"cjs" | "mjs"} format of the program that is bundled, server.<format>
 * @property {string} command in the project
 * @property {[file: string, text: string]} [configuration]
 * @property {string} output the folder that is deployed
 * @property {string} program what is run there
 * @property {boolean} needsModules whether the dependencies are installed beside it
 * @property {boolean} [isBinary] whether the program needs no Node.js
 */

/** Of webpack and Rspack. */
const COMMON = `  target: "node",
  mode: "production",
  entry: "./server.cjs",
  output: { path: __dirname + "/out", filename: "server.cjs" },`;
/** For tools that take the package's code in, and have to be told what a .node file is. */
const NODE_LOADER = `${COMMON}
  module: { rules: [{ test: /\\.node$/, loader: "node-loader" }] },`;

/** @type {Tool[]} */
const TOOLS = [
  {
    name: "esbuild",
    package: "esbuild",
    packages: ["esbuild"],
    format: "cjs",
    command:
      "esbuild server.cjs --bundle --platform=node --loader:.node=copy --outdir=out --out-extension:.js=.cjs",
    output: "out",
    program: "server.cjs",
    needsModules: false,
  },
  {
    name: "esbuild, ES modules",
    package: "esbuild",
    packages: ["esbuild"],
    format: "mjs",
    command:
      "esbuild server.mjs --bundle --platform=node --format=esm --packages=external --outfile=out/server.mjs",
    output: "out",
    program: "server.mjs",
    needsModules: true,
  },
  {
    name: "webpack",
    package: "webpack",
    packages: ["webpack", "webpack-cli", "node-loader"],
    format: "cjs",
    command: "webpack",
    configuration: ["webpack.config.js", `module.exports = {\n${NODE_LOADER}\n};\n`],
    output: "out",
    program: "server.cjs",
    needsModules: false,
  },
  {
    name: "webpack, externals",
    package: "webpack",
    packages: ["webpack", "webpack-cli"],
    format: "cjs",
    command: "webpack --config webpack.externals.js",
    configuration: [
      "webpack.externals.js",
      `const NATIVE = "socket.io-redis-streams-native";
module.exports = {
${COMMON}
  externals: { [NATIVE]: "commonjs " + NATIVE },
};
`,
    ],
    output: "out",
    program: "server.cjs",
    needsModules: true,
  },
  {
    name: "Rspack",
    package: "@rspack/core",
    packages: ["@rspack/core", "@rspack/cli", "node-loader"],
    format: "cjs",
    command: "rspack build",
    configuration: ["rspack.config.js", `module.exports = {\n${NODE_LOADER}\n};\n`],
    output: "out",
    program: "server.cjs",
    needsModules: false,
  },
  {
    name: "Rollup",
    package: "rollup",
    packages: [
      "rollup",
      "@rollup/plugin-node-resolve",
      "@rollup/plugin-commonjs",
      "@rollup/plugin-json",
    ],
    format: "mjs",
    command:
      "rollup server.mjs --file out/server.mjs --plugin node-resolve --plugin commonjs --plugin json --external socket.io,socket.io-redis-streams-native",
    output: "out",
    program: "server.mjs",
    needsModules: true,
  },
  {
    name: "Vite, SSR",
    package: "vite",
    packages: ["vite"],
    format: "mjs",
    command: "vite build --ssr server.mjs --outDir out",
    output: "out",
    program: "server.mjs",
    needsModules: true,
  },
  {
    name: "ncc",
    package: "@vercel/ncc",
    packages: ["@vercel/ncc"],
    format: "cjs",
    command: "ncc build server.cjs --out out",
    output: "out",
    program: "index.cjs",
    needsModules: false,
  },
  {
    name: "@vercel/nft",
    package: "@vercel/nft",
    packages: ["@vercel/nft"],
    format: "cjs",
    command: "nft build server.cjs",
    output: "dist",
    program: "server.cjs",
    needsModules: false,
  },
  {
    name: "bun build --compile",
    package: "bun",
    packages: [],
    format: "cjs",
    command: "bun build server.cjs --compile --outfile out/server",
    output: "out",
    program: "./server",
    needsModules: false,
    isBinary: true,
  },
  {
    name: "bun build",
    package: "bun",
    packages: [],
    format: "mjs",
    command: "bun build server.mjs --target node --packages external --outfile out/server.mjs",
    output: "out",
    program: "server.mjs",
    needsModules: true,
  },
];

module.exports = { TOOLS };

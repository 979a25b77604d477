"use strict";
// Makes a fresh clone runnable: npm packages, the engine, a redis-server. Each is left alone where
// it is there already. Node.js built-ins only: nothing else is installed when this starts.

const { build } = require("./build");
const { installPackages } = require("./install-packages");
const { main } = require("./run");
const { installProgram } = require("./system-package");

function setup() {
  installPackages();
  build();
  installProgram("redis");
}

module.exports = { setup };

if (require.main === module) {
  main({}, setup);
}

"use strict";
// Prepares a fresh clone: installs npm packages, the engine and a redis-server, unless they are there.
// Uses only Node.js built-ins, because nothing else is installed when this starts.

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

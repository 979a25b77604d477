"use strict";
// Starts headless Chromium from the system's packages, for playwright-core.

const { chromium } = require("playwright-core");

const { installProgram } = require("./system-package");

const ARGUMENTS = [
  ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
  // Without these features, it makes no connections by itself.
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
];

function launchChromium() {
  return chromium.launch({ executablePath: installProgram("chromium"), args: ARGUMENTS });
}

module.exports = { launchChromium };

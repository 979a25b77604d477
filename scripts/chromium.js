"use strict";
// Headless Chromium, from the system's packages, driven by playwright-core.

const { chromium } = require("playwright-core");

const { installProgram } = require("./system-package");

const ARGUMENTS = [
  ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
  // It looks nothing up and connects to nobody by itself.
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
];

function launchChromium() {
  return chromium.launch({ executablePath: installProgram("chromium"), args: ARGUMENTS });
}

module.exports = { launchChromium };

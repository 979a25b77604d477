"use strict";
// `npm run screenshots`: takes pictures and a recording of the page of `npm start` during faults that it
// causes in the cluster, and writes them into docs/images. It takes three minutes.

const { mkdirSync, mkdtempSync, rmSync, statSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");

const { ROOT, main, run } = require("./run");
const { setup } = require("./setup");
const { installProgram } = require("./system-package");
const { startPrivateRedis } = require("./private-redis");

const IMAGES = join(ROOT, "docs", "images");
const DESK = {
  viewport: { width: 1280, height: 860 },
  colorScheme: /** @type {const} */ ("light"),
};
const PHONE = {
  viewport: { width: 390, height: 844 },
  colorScheme: /** @type {const} */ ("dark"),
  deviceScaleFactor: 2,
};
/** The time between two frames of the recording (ms); below, how long each is shown (ms). */
const FRAME_INTERVAL = 1_000;
const FRAME_DURATION = 400;
/** The quality of the recording's colours. With this value, the file is small and looks as good. */
const QUALITY = 60;

/**
 * @typedef {import("playwright-core").Page} Page
 * @typedef {import("playwright-core").Browser} Browser
 */

/**
 * @param {Browser} browser
 * @param {string} address of a node
 * @param {string} name in the chat
 * @param {import("playwright-core").BrowserContextOptions} options
 */
async function openTab(browser, address, name, options) {
  const page = await (await browser.newContext(options)).newPage();
  await page.goto(address);
  await page.locator("#connection[data-state=connected]").waitFor();
  await page.locator("#name").fill(name);
  await page.locator("#name").blur();
  await page.evaluate(() => scrollTo(0, 0));
  return page;
}

/**
 * @param {Page} page
 * @param {string} text
 */
async function write(page, text) {
  await page.locator("#text").fill(text);
  await page.keyboard.press("Enter");
}

/**
 * @param {Page} page
 * @param {string} action
 * @param {string} node
 */
async function hurt(page, action, node) {
  await page.locator("#targets label", { hasText: node }).click();
  await page.locator(`button[data-action=${action}]`).click();
}

class Recording {
  #page;
  #folder = mkdtempSync(join(tmpdir(), "sio-frames-"));
  /** @type {string[]} */
  #frames = [];

  /** @param {Page} page */
  constructor(page) {
    this.#page = page;
  }

  /** @param {number} count */
  async frames(count) {
    for (let i = 0; i < count; i++) {
      const path = join(this.#folder, `${this.#frames.length}.png`);
      await this.#page.screenshot({ path });
      this.#frames.push(path);
      await this.#page.waitForTimeout(FRAME_INTERVAL);
    }
  }

  /** @param {string} path */
  write(path) {
    const settings = ["-loop", "0", "-lossy", "-q", String(QUALITY), "-m", "6", "-kmax", "0"];
    const frames = this.#frames.flatMap((frame) => ["-d", String(FRAME_DURATION), frame]);
    run(installProgram("img2webp"), [...settings, ...frames, "-o", path]);
    rmSync(this.#folder, { recursive: true });
  }
}

/**
 * @param {Page} desk a tab on node-1
 * @param {Page} phone one on node-2
 */
async function takePictures(desk, phone) {
  const recording = new Recording(desk);
  await desk.waitForTimeout(60_000); // so that the charts have something to show
  await write(desk, "Hello from node-1");
  await write(phone, "Hello from node-2");
  await recording.frames(3);
  await hurt(desk, "burst", "node-3");
  await recording.frames(6);
  await hurt(desk, "cut", "node-2");
  await recording.frames(6);
  await hurt(desk, "block", "node-3");
  await recording.frames(9);
  await hurt(desk, "restart-redis", "node-3");
  await recording.frames(9);
  await write(phone, "Still here?");
  await write(desk, "Every packet.");
  await hurt(desk, "kill", "node-1");
  await recording.frames(9);
  await hurt(desk, "kill", "node-3");
  await recording.frames(2);
  await desk.screenshot({ path: join(IMAGES, "cluster-page-light.png"), fullPage: true });
  await desk.emulateMedia({ colorScheme: "dark" });
  await desk.waitForTimeout(1_500); // the charts are drawn once a second
  await desk.screenshot({ path: join(IMAGES, "cluster-page-dark.png"), fullPage: true });
  await desk.emulateMedia({ colorScheme: "light" });
  await phone.evaluate(() => scrollTo(0, 0));
  await phone.screenshot({ path: join(IMAGES, "cluster-page-phone.png") });
  await recording.frames(7);
  recording.write(join(IMAGES, "cluster-page.webp"));
}

main({}, async () => {
  setup();
  // Loaded here, because it needs packages that may have just been installed.
  const { launchChromium } = require("./chromium");
  const { Supervisor } = require("../examples/cluster-page/supervisor/supervisor");
  mkdirSync(IMAGES, { recursive: true });
  const redis = await startPrivateRedis(installProgram("redis"));
  const supervisor = new Supervisor(redis.url, 0, redis);
  const browser = await launchChromium();
  try {
    const nodes = await supervisor.started();
    const desk = await openTab(browser, String(nodes[0].address), "Ada", DESK);
    const phone = await openTab(browser, String(nodes[1].address), "Grace", PHONE);
    await takePictures(desk, phone);
  } finally {
    await browser.close();
    await supervisor.close();
    await redis.stop();
  }
  for (const name of [
    "cluster-page.webp",
    ...["light", "dark", "phone"].map((each) => `cluster-page-${each}.png`),
  ]) {
    console.log(`${name}: ${Math.round(statSync(join(IMAGES, name)).size / 1_000)} kB`);
  }
});

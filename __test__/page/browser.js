// The page in headless Chromium, as somebody uses it who sees, clicks and types.

"use strict";

const assert = require("node:assert/strict");
const { waitFor } = require("../helpers/wait");

/** What Chromium says of a connection to a node that is dead: it is meant to be. */
const EXPECTED = /WebSocket connection to 'ws:.*(ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET)/;

/** @typedef {{ lost: number, doubled: number, outOfOrder: number }} Faults */

class Tab {
  /** What went wrong in the page, of which there should be nothing. @type {string[]} */
  complaints = [];

  /** @param {import("playwright-core").Page} page */
  constructor(page) {
    this.page = page;
    page.on("pageerror", (error) => this.complaints.push(String(error.stack)));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type()) && !EXPECTED.test(message.text())) {
        this.complaints.push(message.text());
      }
    });
    page.on("requestfailed", (request) => this.complaints.push(`not loaded: ${request.url()}`));
  }

  /**
   * @param {import("playwright-core").Browser} browser
   * @param {string} address of a node
   * @param {import("playwright-core").BrowserContextOptions} [options]
   */
  static async open(browser, address, options) {
    const context = await browser.newContext(options);
    const tab = new Tab(await context.newPage());
    await tab.page.goto(address);
    await tab.page.locator("#connection[data-state=connected]").waitFor();
    return tab;
  }

  /** @param {string} selector */
  async text(selector) {
    return String(await this.page.locator(selector).textContent());
  }

  /** @param {string} selector */
  async number(selector) {
    return Number((await this.text(selector)).replaceAll(",", ""));
  }

  /** The node that it is connected to. */
  async node() {
    return /node-\d$/.exec(await this.text("#connection"))?.[0];
  }

  /**
   * @param {string} name of a node
   * @param {string} state
   */
  async shows(name, state) {
    const card = `.card[data-node=${name}][data-state=${state}]`;
    await this.page.locator(card).waitFor({ timeout: 15_000 });
  }

  /**
   * A number in a node's card.
   *
   * @param {string} name
   * @param {string} label
   */
  async figure(name, label) {
    const card = this.page.locator(`.card[data-node=${name}]`);
    const row = card.locator("dl > div", { has: this.page.getByText(label, { exact: true }) });
    return Number.parseFloat(String(await row.locator("dd").textContent()).replaceAll(",", ""));
  }

  /** @returns {Promise<Faults>} */
  async faults() {
    return {
      lost: await this.number("#lost"),
      doubled: await this.number("#doubled"),
      outOfOrder: await this.number("#out-of-order"),
    };
  }

  /**
   * Waits for further packets of each node, and shows that none is missing up to then.
   *
   * @param {number} [packets]
   */
  async staysWhole(packets = 60) {
    const before = await this.number("#received");
    await waitFor(async () => (await this.number("#received")) >= before + packets, {
      what: `${packets} packets more than ${before}`,
      timeout: 20_000,
      interval: 50,
    });
    await waitFor(
      async () => {
        const chart = this.page.locator(".chart", { hasText: "Received by this tab" });
        const values = await chart.locator(".value").allTextContents();
        return values.length === 3 && values.every((value) => Number.parseFloat(value) > 0);
      },
      { what: "packets of each node", timeout: 20_000, interval: 50 },
    );
    assert.deepEqual(await this.faults(), { lost: 0, doubled: 0, outOfOrder: 0 });
    assert.match(await this.text("#verdict"), /packets, each once, in order$/);
  }

  /**
   * @param {string} action
   * @param {string} [node]
   */
  async hurt(action, node) {
    if (node) {
      await this.page.locator("#targets label", { hasText: node }).click();
    }
    await this.page.locator(`button[data-action=${action}]`).click();
  }

  /** @param {string} text */
  async write(text) {
    await this.page.getByLabel("Message", { exact: true }).fill(text);
    await this.page.keyboard.press("Enter");
  }

  /** @param {string} text */
  async reads(text) {
    await this.page.locator("#messages .message p").getByText(text, { exact: true }).waitFor();
  }

  close() {
    return this.page.context().close();
  }
}

module.exports = { Tab };

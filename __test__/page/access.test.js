// The page on a phone, by keyboard, in light and dark, and for those who do not see it.

"use strict";

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { after, before, describe, it } = require("node:test");
const { launchChromium } = require("../../scripts/chromium");
const { npmStart, skip } = require("../helpers/npm-start");
const { waitFor } = require("../helpers/wait");
const { Tab } = require("./browser");

const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };

/**
 * How many pixels of the page's first chart have that colour of the style sheet.
 *
 * @param {Tab} tab
 * @param {string} name of a custom property
 */
function drawnIn(tab, name) {
  return tab.page.evaluate((property) => {
    const probe = document.body.appendChild(document.createElement("i"));
    probe.style.color = `var(${property})`;
    const [r, g, b] = (getComputedStyle(probe).color.match(/\d+/g) ?? []).map(Number);
    probe.remove();
    const canvas = /** @type {any} */ (document.querySelector(".chart canvas"));
    const { width, height } = canvas;
    const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    copy?.drawImage(canvas, 0, 0);
    const { data } = /** @type {any} */ (copy?.getImageData(0, 0, width, height));
    let count = 0;
    for (let i = 0; i < data.length; i += 4) {
      const distance = [r, g, b].map((level, k) => Math.abs(level - data[i + k]));
      count += Number(data[i + 3] > 100 && Math.max(...distance) < 4);
    }
    return { colour: [r, g, b].join(), count };
  }, name);
}

/** @param {Tab} tab */
async function violations(tab) {
  await tab.page.evaluate(AXE);
  const { violations: found } = await tab.page.evaluate(() =>
    /** @type {any} */ (window).axe.run(),
  );
  return found.map((/** @type {any} */ { id, impact, nodes }) => ({
    id,
    impact,
    where: nodes.map((/** @type {any} */ node) => node.html),
  }));
}

/** What has the focus, and whether one sees that it has. @param {Tab} tab */
function focused(tab) {
  return tab.page.evaluate(() => {
    const target = /** @type {any} */ (document.activeElement);
    // A radio button is drawn by what stands beside it.
    const drawn = target.type === "radio" ? target.nextElementSibling : target;
    /** @param {any} each */
    const labelOf = ({ type, value, id, ariaLabel, textContent }) =>
      type === "radio" ? value : id || ariaLabel || textContent.trim();
    const { outlineStyle, outlineWidth } = getComputedStyle(drawn);
    return {
      name: target.dataset.action ?? labelOf(target),
      isSeen: outlineStyle !== "none" && Number.parseFloat(outlineWidth) >= 2,
      isPage: target === document.body,
    };
  });
}

describe("the page for everyone", { skip }, () => {
  /** @type {import("../helpers/npm-start").NpmStart} */
  let cluster;
  /** @type {import("playwright-core").Browser} */
  let browser;
  /** @type {Tab} */
  let tab;

  before(async () => {
    cluster = await npmStart();
    browser = await launchChromium();
    tab = await Tab.open(browser, cluster.addresses["node-1"], { colorScheme: "light" });
    await tab.staysWhole();
  });

  after(async () => {
    await browser?.close();
    cluster?.kill();
  });

  it("fits on a phone, also with long words in the chat", async (t) => {
    const phone = await Tab.open(browser, cluster.addresses["node-2"], PHONE);
    t.after(() => phone.close());
    await phone.staysWhole();
    await phone.write("W".repeat(500));
    await phone.reads("W".repeat(500));
    const { width, wide } = await phone.page.evaluate(() => ({
      width: document.documentElement.scrollWidth,
      wide: [...document.querySelectorAll("body *")]
        .filter((each) => each.getBoundingClientRect().right > innerWidth + 0.5)
        .map((each) => each.outerHTML.slice(0, 80)),
    }));
    assert.equal(width, 360);
    assert.deepEqual(wide, []);
    const scrolls = (/** @type {any} */ log) => log.scrollWidth > log.clientWidth;
    assert.equal(await phone.page.locator("#chat .log").evaluate(scrolls), false);
    for (const button of await phone.page.locator("button:visible").all()) {
      const box = await button.boundingBox();
      assert.ok(box && box.height >= 44 && box.width >= 44, "large enough for a finger");
    }
    // What is pressed on a phone comes before the charts.
    const [hurt, charts] = await Promise.all(
      ["#hurt", "#charts-section"].map((id) => phone.page.locator(id).boundingBox()),
    );
    assert.ok(hurt && charts && hurt.y < charts.y);
    assert.deepEqual(phone.complaints, []);
  });

  it("is used by keyboard alone, and shows where one is", async () => {
    /** @type {string[]} */
    const names = [];
    await tab.page.locator("body").press("Tab");
    for (let at = await focused(tab); !at.isPage; at = await focused(tab)) {
      assert.ok(at.isSeen, `the focus on ${at.name} is not to be seen`);
      names.push(at.name);
      assert.ok(names.length < 30, `no end: ${names}`);
      await tab.page.keyboard.press("Tab");
    }
    assert.deepEqual(names, [
      ...["node-2", "kill", "block", "cut", "burst", "restart-redis"],
      ...["Events", "node-2", "node-3", "Messages", "name", "text", "Send"],
    ]);

    const earlier = await tab.number("#received");
    await tab.page.locator("#targets input:checked").focus();
    await tab.page.keyboard.press("ArrowRight");
    assert.equal((await focused(tab)).name, "node-3");
    for (let i = 0; i < 4; i++) {
      await tab.page.keyboard.press("Tab");
    }
    await tab.page.keyboard.press("Enter");
    await tab.page.locator("#outcome", { hasText: "Burst: node-3: done" }).waitFor();
    await waitFor(async () => (await tab.number("#received")) > earlier + 5_000, {
      what: "the burst",
    });
  });

  it("becomes dark when the system does, its charts too", async () => {
    const background = () =>
      tab.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = { page: await background(), line: await drawnIn(tab, "--node-3") };
    assert.ok(light.line.count > 20, "a line in the light colour");
    await tab.page.emulateMedia({ colorScheme: "dark" });
    const dark = { page: await background(), line: await drawnIn(tab, "--node-3") };
    await waitFor(async () => (await drawnIn(tab, "--node-3")).count > 20, {
      what: "a line in the dark colour",
    });
    const levels = (/** @type {string} */ colour) => (colour.match(/\d+/g) ?? []).map(Number);
    assert.ok(levels(light.page).every((level) => level > 200));
    assert.ok(levels(dark.page).every((level) => level < 60));
    assert.notEqual(light.line.colour, dark.line.colour);
    await tab.page.emulateMedia({ colorScheme: "light" });
  });

  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    it(`has nothing that axe-core finds fault with, ${colorScheme}`, async () => {
      await tab.page.emulateMedia({ colorScheme });
      assert.deepEqual(await violations(tab), []);
      await tab.hurt("kill", "node-3");
      await tab.shows("node-3", "dead");
      assert.deepEqual(await violations(tab), []);
      await tab.shows("node-3", "running");
    });
  }

  it("does not move where motion is not wanted, nor anywhere else", async () => {
    const moving = await tab.page.evaluate(
      () =>
        [...document.querySelectorAll("*")].filter((each) => {
          const { animationName, transitionDuration } = getComputedStyle(each);
          return animationName !== "none" || transitionDuration !== "0s";
        }).length,
    );
    assert.equal(moving, 0);
  });

  it("had nothing to complain of", () => {
    assert.deepEqual(tab.complaints, []);
  });
});

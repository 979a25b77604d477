// The page of `npm start`, end to end: two tabs on different nodes, while the cluster is hurt by the
// page's buttons. Each packet has to reach both tabs, once and in order.

"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, it } = require("node:test");
const { createClient } = require("redis");
const { launchChromium } = require("../../scripts/chromium");
const { npmStart, skip } = require("../helpers/npm-start");
const { waitFor } = require("../helpers/wait");
const { Tab } = require("./browser");

describe("the page", { skip }, () => {
  /** @type {import("../helpers/npm-start").NpmStart} */
  let cluster;
  /** @type {import("playwright-core").Browser} */
  let browser;
  /** On node-1. @type {Tab} */
  let ada;
  /** On node-2, which is the one that is hurt. @type {Tab} */
  let grace;

  before(async () => {
    cluster = await npmStart();
    browser = await launchChromium();
    ada = await Tab.open(browser, cluster.addresses["node-1"]);
    grace = await Tab.open(browser, cluster.addresses["node-2"]);
  });

  after(async () => {
    await browser?.close();
    cluster?.kill();
  });

  async function bothStayWhole() {
    await Promise.all([ada.staysWhole(), grace.staysWhole()]);
  }

  it("shows all nodes in each tab, whichever node it is connected to", async () => {
    assert.deepEqual([await ada.node(), await grace.node()], ["node-1", "node-2"]);
    for (const tab of [ada, grace]) {
      for (const node of ["node-1", "node-2", "node-3"]) {
        await tab.shows(node, "running");
        assert.ok((await tab.figure(node, "Memory")) > 0);
        await waitFor(async () => (await tab.figure(node, "Reads")) > 0, { what: "entries read" });
      }
      const sockets = () =>
        Promise.all(["node-1", "node-2", "node-3"].map((node) => tab.figure(node, "Sockets")));
      await waitFor(async () => String(await sockets()) === "1,1,0", { what: "the sockets" });
      assert.equal(await tab.page.locator(".chart canvas").count(), 6);
    }
    await bothStayWhole();
  });

  it("carries what is written on one node to the other, as text", async () => {
    const html = "<img src=x onerror=alert(1)> & <b>hello</b>";
    await ada.write(html);
    await Promise.all([ada.reads(html), grace.reads(html)]);
    assert.match(await grace.text("#messages .message:last-of-type small"), /via node-1$/);
    await grace.page.getByText(/^Here now: .*\(node-1\), you \(node-2\)$/).waitFor();
  });

  it("gets every packet of a burst", async () => {
    const earlier = await Promise.all([ada, grace].map((tab) => tab.number("#received")));
    await ada.hurt("burst", "node-2");
    await ada.page.getByText("Burst: node-2: done").waitFor();
    await Promise.all(
      [ada, grace].map((tab, i) =>
        waitFor(async () => (await tab.number("#received")) > earlier[i] + 5_000, {
          what: "the whole burst",
          timeout: 15_000,
        }),
      ),
    );
    await bothStayWhole();
  });

  it("misses nothing when a node's Redis connections are cut", async () => {
    await ada.hurt("cut", "node-2");
    await ada.page.getByText("Cut Redis: node-2: done").waitFor();
    await waitFor(async () => (await ada.figure("node-2", "Reconnects")) > 0, {
      what: "connections that were made again",
    });
    assert.equal(await ada.figure("node-1", "Reconnects"), 0);
    await bothStayWhole();
  });

  it("shows a blocked event loop, which delays packets and loses none", async () => {
    await ada.hurt("block", "node-2");
    await ada.shows("node-2", "blocked");
    await ada.shows("node-2", "running");
    await bothStayWhole();
  });

  it("shows a killed node gone and back; its tab goes on elsewhere without a gap", async () => {
    const button = ada.page.locator("button[data-action=kill]");
    await ada.page.locator("#targets label", { hasText: "node-2" }).click();
    await button.focus();
    await ada.page.keyboard.press("Enter");
    await ada.shows("node-2", "dead");
    await grace.page.getByText(/^connected to node-[13]$/).waitFor();
    await grace.page.getByText("1, all recovered").waitFor();
    await ada.shows("node-2", "running");
    await bothStayWhole();
    assert.equal(await ada.node(), "node-1");

    await grace.write("from elsewhere");
    await ada.reads("from elsewhere");
    await ada.page.locator("#events li", { hasText: "node-2 died (SIGKILL)" }).waitFor();
    await grace.page.locator("#events li", { hasText: "This tab lost node-2" }).waitFor();
  });

  it("misses nothing when Redis is restarted", async (t) => {
    const redis = await createClient({ url: cluster.redisUrl })
      .on("error", () => {})
      .connect();
    t.after(() => redis.close());
    const length = await redis.xLen("cluster-page");
    assert.ok(length > 5_000);
    await ada.hurt("restart-redis");
    await ada.page.locator("#redis[data-state=away]").waitFor();
    await ada.page.locator("#redis[data-state=up]").waitFor({ timeout: 15_000 });
    await ada.page.getByText("Restart Redis: done").waitFor();
    assert.ok((await redis.xLen("cluster-page")) >= length, "Redis is back with its data");
    for (const node of ["node-1", "node-2", "node-3"]) {
      await ada.shows(node, "running");
      assert.equal(await ada.figure(node, "Entries lost"), 0);
    }
    await bothStayWhole();
  });

  it("says so when a tab did lose packets", async (t) => {
    const tab = await Tab.open(browser, cluster.addresses["node-3"]);
    t.after(() => tab.close());
    await tab.staysWhole();
    const redis = await createClient({ url: cluster.redisUrl }).connect();
    t.after(() => redis.close());
    const sessions = await redis.keys("cluster-page:session:*");
    assert.ok(sessions.length >= 3, "each tab's session is saved ahead");
    await redis.del(sessions);
    await tab.hurt("kill", "node-3");
    await tab.page.getByText("1, 1 not recovered").waitFor();
    await waitFor(async () => (await tab.number("#lost")) > 0, { what: "the losses" });
    assert.match(await tab.text("#verdict"), /^[\d,]+ lost, 0 doubled, 0 out of order$/);
    await ada.shows("node-3", "running");
    assert.deepEqual(await ada.faults(), { lost: 0, doubled: 0, outOfOrder: 0 });
  });

  it("had nothing to complain of: no error, nothing that the policy forbids", () => {
    assert.deepEqual([...ada.complaints, ...grace.complaints], []);
  });
});

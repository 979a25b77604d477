"use strict";
// The layout of the engine: its modules build on each other without a circle, in the order in which
// src/engine/mod.rs declares them, and only src/node knows Node.js.

const assert = require("node:assert/strict");
const { test, describe } = require("node:test");

const {
  readSources,
  declaredOrder,
  usesOfModules,
  usesWithin,
  findCircle,
} = require("./rust-modules");

/** The folders of the engine whose files must not use each other in circles. */
const FOLDERS = ["wire", "redis", "stream", "control", "session"];

/** @param {Map<string, string>} sources */
function forwardUses(sources) {
  const order = declaredOrder(sources);
  return usesOfModules(sources)
    .filter(({ own, uses }) => !(order.indexOf(uses) < order.indexOf(own)) || uses === "<node>")
    .map(({ file, text }) => `${file} uses ${text}`);
}

describe("the layout of the engine", () => {
  const sources = readSources();

  test("each module uses only those that are declared above it", () => {
    assert.deepEqual(forwardUses(sources), []);
  });

  for (const folder of FOLDERS) {
    test(`the files of ${folder} use each other without a circle`, () => {
      assert.equal(findCircle(usesWithin(sources, folder))?.join(" → "), undefined);
    });
  }

  test("only src/node names napi", () => {
    const named = [...sources].filter(([, text]) => /\bnapi\b/.test(text));
    assert.deepEqual(
      named.map(([file]) => file),
      [],
    );
  });

  for (const [file, line] of [
    ["wire/packet.rs", "use crate::engine::stream::Stream;"],
    ["wire/mod.rs", "use super::redis::Connector;"],
    ["inbox.rs", "use super::stream::{Progress, Stream};"],
    ["engine.rs", "use crate::node::NativeEngine;"],
    ["error.rs", "fn planted(_: super::redis::Settings) {}"],
  ]) {
    test(`${line} in ${file} would be found`, () => {
      const planted = new Map(sources).set(file, `${sources.get(file)}\n${line}\n`);
      assert.equal(forwardUses(planted).length, line.includes("{Progress") ? 2 : 1);
    });
  }

  test("a circle among the files of a folder would be found", () => {
    const planted = new Map(sources);
    planted.set("redis/backoff.rs", `${sources.get("redis/backoff.rs")}use super::Connector;\n`);
    assert.match(findCircle(usesWithin(planted, "redis"))?.join(" → ") ?? "", /backoff/);
  });
});

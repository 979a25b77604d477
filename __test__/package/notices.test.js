// THIRD-PARTY-NOTICES.txt, which goes into the package of each platform, is what the crates in
// Cargo.lock make of it, and has a licence for each crate that is linked into the engine.

"use strict";

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { describe, it } = require("node:test");
const { FILE, linkedCrates, notices } = require("../../scripts/notices");
const { TARGETS } = require("../../scripts/targets");

describe("THIRD-PARTY-NOTICES.txt", () => {
  const text = readFileSync(FILE, "utf8");

  it("is up to date: `npm run notices` writes it", () => {
    assert.equal(text, notices());
  });

  for (const [platform, target] of Object.entries(TARGETS)) {
    it(`names every crate of the engine for ${platform}`, () => {
      const crates = linkedCrates(target);
      assert.ok(crates.some(({ name }) => name === "tokio"));
      const missing = crates.filter(
        ({ name, version }) => !text.includes(`\n${name} ${version} (`),
      );
      assert.deepEqual(missing, []);
    });
  }

  it("leaves out what only builds the engine, and macros", () => {
    for (const name of ["cc", "napi-build", "serde_derive", "syn"]) {
      assert.doesNotMatch(text, new RegExp(`^${name} \\d`, "m"));
    }
  });
});

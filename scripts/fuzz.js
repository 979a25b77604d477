"use strict";
// `npm run fuzz`: fuzzes the decoders of data from Redis one after the other. Each starts with its
// corpus in fuzz/corpus/.
//
//     npm run fuzz -- session batch      only these targets
//     npm run fuzz -- --minutes 1        the time for each target, instead of 10 minutes
//     npm run fuzz -- --minimize         does not fuzz: removes inputs from the corpus that cover only
//                                        what others cover

const { readdirSync } = require("node:fs");
const { join } = require("node:path");

const { ROOT, ScriptError, which, succeeds, main, positive, requireKnown } = require("./run");
const { requireCargo } = require("./build");

/** With this variable, cargo-fuzz can use nightly features of a stable compiler. */
const ENVIRONMENT = { ...process.env, RUSTC_BOOTSTRAP: "1" };

const OPTIONS = /** @type {const} */ ({
  minutes: { type: "string", default: "10" },
  minimize: { type: "boolean", default: false },
});

main({ options: OPTIONS, allowPositionals: true }, ({ values, positionals }) => {
  const seconds = positive("--minutes", values.minutes) * 60;
  const known = readdirSync(join(ROOT, "fuzz", "corpus")).sort();
  positionals.forEach((target) => requireKnown("target", target, known));
  requireCargo();
  if (!which("cargo-fuzz")) {
    throw new ScriptError("cargo-fuzz is needed: cargo install cargo-fuzz");
  }
  const targets = positionals.length > 0 ? positionals : known;
  const failed = targets.filter((target) => {
    const args = values.minimize
      ? ["fuzz", "cmin", target]
      : ["fuzz", "run", target, "--", `-max_total_time=${seconds}`, "-print_final_stats=1"];
    return !succeeds("cargo", args, { env: ENVIRONMENT });
  });
  if (failed.length > 0) {
    throw new ScriptError(`\nFailed: ${failed.join(", ")}; the inputs are in fuzz/artifacts/`);
  }
});

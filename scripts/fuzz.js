"use strict";
// `npm run fuzz [target…]`: fuzzes the decoders of what comes from Redis, one after the other, from
// the corpus in fuzz/corpus/ on. With `--minimize` it leaves in the corpus what covers all that it and
// the inputs found since cover.

const { readdirSync } = require("node:fs");
const { join } = require("node:path");
const { parseArgs } = require("node:util");

const { ROOT, ScriptError, which, succeeds, main } = require("./run");
const { requireCargo } = require("./build");

/** cargo-fuzz turns on what only a nightly compiler has without this. */
const ENVIRONMENT = { ...process.env, RUSTC_BOOTSTRAP: "1" };

main(() => {
  const { values, positionals } = parseArgs({
    options: {
      minutes: { type: "string", default: "10" },
      minimize: { type: "boolean", default: false },
    },
    allowPositionals: true,
  });
  const seconds = Number(values.minutes) * 60;
  if (!(seconds > 0)) {
    throw new ScriptError(`--minutes must be a number above 0, not ${values.minutes}`);
  }
  requireCargo();
  if (!which("cargo-fuzz")) {
    throw new ScriptError("cargo-fuzz is needed: cargo install cargo-fuzz");
  }
  const known = readdirSync(join(ROOT, "fuzz", "corpus")).sort();
  const unknown = positionals.find((target) => !known.includes(target));
  if (unknown !== undefined) {
    throw new ScriptError(`no target is called ${unknown}; there are ${known.join(", ")}`);
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

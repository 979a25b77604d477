// The soak, at any length:
//
//     npm run soak -- --minutes 10 --seed 42

"use strict";

const { main, positive } = require("../../scripts/run");
const { seed: anySeed } = require("../faults/random");
const { runSoak } = require("./soak-scenario");

const OPTIONS = /** @type {const} */ ({
  minutes: { type: "string", default: "10" },
  seed: { type: "string" },
});

/** @param {number} bytes */
const mb = (bytes) => (bytes / 1e6).toFixed(1).padStart(6);

main({ options: OPTIONS }, async ({ values }) => {
  const minutes = positive("--minutes", values.minutes);
  const seed = values.seed === undefined ? anySeed() : positive("--seed", values.seed);
  console.log(`--minutes ${minutes} --seed ${seed}`);
  const report = await runSoak({
    length: minutes * 60_000,
    rounds: Math.max(8, Math.round(minutes * 3)),
    seed,
    onSample: (samples, round) =>
      samples.forEach(({ rss, heap, external, fds, threads }, node) =>
        console.log(
          `round ${round}, node ${node}: RSS ${mb(rss)} MB, heap ${mb(heap)} MB, external ${mb(external)} MB, ${fds} descriptors, ${threads} threads`,
        ),
      ),
  });
  const { tally, growth, published, recoveries, freshStarts, left, namespaces, faults } = report;
  const { lost, doubled, disordered, received, samples } = tally;
  console.log(
    `${published} packets, ${received} received; ${recoveries} recoveries, ${freshStarts} refused; ${left} clients replaced; ${namespaces} namespaces`,
  );
  console.log(`${lost} lost, ${doubled} doubled, ${disordered} out of order`);
  for (const { node, what, by, bound } of growth) {
    const verdict = by < bound ? "" : "  TOO MUCH";
    const perMinute = by / minutes;
    console.log(
      `node ${node}: ${what} ${by.toFixed()} after the warm-up (${perMinute.toFixed()} per minute), bound ${bound}${verdict}`,
    );
  }
  [...samples, ...faults].forEach((line) => console.log(line));
  const isFlat = growth.every(({ by, bound }) => by < bound);
  const passed = tally.faults + freshStarts + faults.length === 0 && isFlat;
  console.log(passed ? "passed" : "FAILED");
  process.exitCode = passed ? 0 : 1;
});

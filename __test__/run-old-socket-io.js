// `npm run test:socket-io`: chosen tests with older versions of Socket.IO than the one that is installed,
// one after another:
//
//     npm run test:socket-io                        all of them
//     npm run test:socket-io -- 4.6.0               one of them
//     npm run test:socket-io -- 4.6.0 __test__/recovery.test.js    and other tests than those chosen
//
// helpers/old-socket-io.js gives the tests the old version.

"use strict";

const { availableParallelism } = require("node:os");
const { join } = require("node:path");
const { ROOT, ScriptError, main, requireKnown, succeeds } = require("../scripts/run");

/** Connecting and closing, which differ most. */
const CLOSING = ["faults/adapter-late", "faults/closing", "parity/sessions"];

/** By version, the tests. @type {Record<string, string[]>} */
const CHOSEN = {
  // The oldest that is supported, with the oldest socket.io-adapter.
  "4.6.0": [
    ...CLOSING,
    ...["emitter/emitter", "faults/close-early", "faults/restores", "parity/recovery"],
    ...["faults/refused-while-arriving", "sessions/live-sessions"],
    ...["parity/acknowledgements", "parity/broadcast", "parity/disconnect-sockets"],
    ...[
      "parity/fetch-sockets",
      "parity/internals",
      "parity/membership",
      "parity/recovery",
      "parity/namespaces",
    ],
    ...["parity/rooms", "parity/server-side-emit"],
  ],
  // The last whose `io.close()` waits for nothing.
  "4.7.5": CLOSING,
  // The last whose `io.close()` waits for the adapters, and not for the HTTP server.
  "4.8.1": CLOSING,
};

const HOOK = join(__dirname, "helpers", "old-socket-io.js");
const ARGS = [
  ...["--test", "--test-reporter=spec", "--test-timeout=120000"],
  `--test-concurrency=${availableParallelism() + 2}`,
];

/** @param {string} version @param {string[]} files @returns {boolean} whether all tests passed */
function run(version, files) {
  console.log(`\n# Socket.IO ${version}\n`);
  const env = {
    ...process.env,
    OLD_SOCKET_IO: version,
    // Tests start processes, which have to get the old version too.
    NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ""} --require=${JSON.stringify(HOOK)}`,
  };
  return succeeds(process.execPath, [...ARGS, ...files], { env });
}

main({ allowPositionals: true }, ({ positionals: [only, ...files] }) => {
  if (only !== undefined) {
    requireKnown("version", only, Object.keys(CHOSEN));
  }
  const failed = Object.entries(CHOSEN)
    .filter(([version]) => only === undefined || version === only)
    .filter(([version, chosen]) => {
      const all = chosen.map((name) => join(ROOT, "__test__", `${name}.test.js`));
      return !run(version, files.length > 0 ? files : all);
    })
    .map(([version]) => version);
  if (failed.length > 0) {
    throw new ScriptError(`\nFailed with Socket.IO ${failed.join(", ")}`);
  }
});

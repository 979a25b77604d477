// Child processes that end with the process that started them, however that one ends.

"use strict";

const { spawn } = require("node:child_process");
const { rmSync } = require("node:fs");

// Waits for the other end of its stdin to close, then kills $0 and removes $1.
const WATCHDOG = 'read -r line; kill -9 "$0" 2>/dev/null; [ -z "$1" ] || rm -rf "$1"';

/** What is to be done when this process ends. @type {Set<() => void>} */
const atExit = new Set();
process.on("exit", () => atExit.forEach((work) => work()));

/**
 * Kills `child` when this process ends: in the `exit` handler, and, for the ends that run no
 * handlers (SIGTERM by the test runner, SIGKILL), by a small shell that watches this process. The
 * child does not keep this process alive.
 *
 * @param {import("node:child_process").ChildProcess} child
 * @param {string} [directory] a temporary directory to remove along with the child
 * @returns {() => void} ends the guard, to be called when the child has ended
 */
function guard(child, directory = "") {
  const watchdog = spawn("sh", ["-c", WATCHDOG, String(child.pid), directory], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  watchdog.on("error", () => {}); // no shell here: the exit handler has to do
  watchdog.unref();
  /** @type {import("node:net").Socket | null} */ (watchdog.stdin)?.unref();
  child.unref();

  const onExit = () => {
    child.kill("SIGKILL");
    if (directory) {
      rmSync(directory, { recursive: true, force: true });
    }
    watchdog.kill("SIGKILL");
  };
  atExit.add(onExit);

  return () => {
    atExit.delete(onExit);
    watchdog.kill("SIGKILL");
  };
}

module.exports = { guard };

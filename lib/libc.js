"use strict";
// Which libc this process runs on. A binary that was linked against another one does not load.

const fs = require("node:fs");

/** The program header that holds the path of the dynamic loader. */
const PT_INTERP = 3;
/** How an ELF file for 64 bits and little-endian begins, as all platforms with an engine are. */
const ELF64_LE = "\x7fELF\x02\x01";

/**
 * The dynamic loader comes with the libc, and has its name: `ld-linux-x86-64.so.2` or
 * `ld-musl-x86_64.so.1`.
 *
 * @param {string} program path of an ELF file
 * @returns {string | undefined} the path of its dynamic loader
 */
function interpreter(program) {
  const file = fs.openSync(program, "r");
  try {
    const read = (/** @type {number} */ position, /** @type {number} */ length) => {
      const bytes = Buffer.alloc(length);
      fs.readSync(file, bytes, 0, length, position);
      return bytes;
    };
    const header = read(0, 64);
    if (header.toString("latin1", 0, ELF64_LE.length) !== ELF64_LE) {
      return undefined;
    }
    const table = Number(header.readBigUInt64LE(32));
    const size = header.readUInt16LE(54);
    const count = header.readUInt16LE(56);
    for (let i = 0; i < count; i++) {
      const entry = read(table + i * size, 56);
      if (entry.readUInt32LE(0) === PT_INTERP) {
        const path = read(Number(entry.readBigUInt64LE(8)), Number(entry.readBigUInt64LE(32)));
        return path.toString("latin1").replace(/\0.*/s, "");
      }
    }
    return undefined;
  } finally {
    fs.closeSync(file);
  }
}

/** @returns {"gnu" | "musl" | undefined} */
function byInterpreter() {
  try {
    const path = interpreter("/proc/self/exe") ?? "";
    return path.includes("/ld-musl-") ? "musl" : path.includes("/ld-linux-") ? "gnu" : undefined;
  } catch {
    return undefined; // there is no /proc, or Deno does not let us read it
  }
}

/** @returns {"gnu" | "musl" | undefined} */
function byReport() {
  /** @type {{ excludeNetwork?: boolean, getReport(): object } | undefined} */
  const report = process.report;
  if (!report) {
    return undefined;
  }
  // Without this the report looks up the host name of every open connection, which takes seconds
  // where DNS does not answer. Node.js before 20.13 ignores it.
  const before = report.excludeNetwork;
  report.excludeNetwork = true;
  try {
    const { header } = /** @type {{ header?: { glibcVersionRuntime?: string } }} */ (
      report.getReport()
    );
    return header?.glibcVersionRuntime ? "gnu" : "musl";
  } catch {
    return undefined; // Deno lets us have none
  } finally {
    report.excludeNetwork = before;
  }
}

/**
 * The process itself is asked first: Deno's report named a glibc on Alpine too
 * (denoland/deno#33948), and programs like `ldd` tell of the system, which may have both.
 *
 * @returns {"gnu" | "musl"}
 */
function linuxLibc() {
  return byInterpreter() ?? byReport() ?? "gnu";
}

module.exports = { interpreter, linuxLibc };

// Programs with an emitter that end by themselves, or do not; run as processes by scripts.test.js:
//
//     node scripts.js <script> <Redis URL>

"use strict";

const { Emitter } = require("../..");

const COUNT = 10_000;

const [script, url] = process.argv.slice(2);

const emitter = new Emitter(url, { maxLen: 10 * COUNT });

function emit() {
  for (let i = 0; i < COUNT; i++) {
    emitter.emit("numbered", 0, i);
  }
}

/** @type {Record<string, () => unknown>} */
const scripts = {
  /** Nothing at all. */
  idle() {},

  /** Emits, and has nothing else to do. */
  emit,

  async emitAndFlush() {
    emit();
    await emitter.flush();
    console.log("flushed");
  },

  async emitAndClose() {
    emit();
    await emitter.close();
    console.log("closed");
  },

  /** Does not wait for the end. */
  emitCloseAndEnd() {
    emit();
    emitter.close();
  },

  /** What fails is nobody's rejection. */
  emitAndForget() {
    emitter.emit("lost");
    emitter.flush();
    emitter.emit("lost");
    emitter.close();
  },
};

scripts[script]();

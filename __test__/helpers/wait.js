// Waiting for conditions and events with a deadline, so that no test sleeps for a guessed time.

"use strict";

const DEFAULT_TIMEOUT = 8_000;
const POLL_INTERVAL = 5;
/**
 * The time-out of requests whose answers do come. No longer than needed: upstream's timer of a
 * broadcast with acknowledgements keeps the process alive until it has passed.
 */
const ANSWER_TIMEOUT = 2_000;

/**
 * @param {number} ms
 * @returns {Promise<void>}
 */
function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Polls `condition` until it returns something truthy, and resolves with that.
 *
 * @template T
 * @param {() => T | Promise<T>} condition
 * @param {{ timeout?: number, interval?: number, what?: string | (() => string) }} [options]
 *   `what` names what is waited for; as a function it is called at the deadline, so that the error
 *   can show the last state
 * @returns {Promise<T>}
 */
async function waitFor(condition, options = {}) {
  const { timeout = DEFAULT_TIMEOUT, interval = POLL_INTERVAL, what = "the condition" } = options;
  const deadline = Date.now() + timeout;
  for (;;) {
    const value = await condition();
    if (value) {
      return value;
    }
    if (Date.now() > deadline) {
      throw new Error(
        `waited ${timeout} ms in vain for ${typeof what === "function" ? what() : what}`,
      );
    }
    await sleep(interval);
  }
}

/**
 * Resolves like `promise`, or rejects when it takes longer than `timeout`.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {string} what
 * @param {number} [timeout] in ms
 * @returns {Promise<T>}
 */
function within(promise, what, timeout = DEFAULT_TIMEOUT) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`waited ${timeout} ms in vain for ${what}`)),
      timeout,
    );
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/**
 * The arguments of the next `event` of an emitter (of Node or of a Socket.IO client).
 *
 * @param {{ once(event: string, listener: (...args: any[]) => void): unknown }} emitter
 * @param {string} event
 * @param {number} [timeout] in ms
 * @returns {Promise<any[]>}
 */
function once(emitter, event, timeout = DEFAULT_TIMEOUT) {
  return within(
    new Promise((resolve) => emitter.once(event, (...args) => resolve(args))),
    `the event "${event}"`,
    timeout,
  );
}

/**
 * A short pause to show that something does NOT come; never to wait for something that does.
 *
 * @param {number} [ms]
 * @returns {Promise<void>}
 */
function settle(ms = 100) {
  return sleep(ms);
}

module.exports = { ANSWER_TIMEOUT, waitFor, within, once, settle };

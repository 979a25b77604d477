// A node that Redis refuses beside one that it does not, and what has to hold for both.

"use strict";

const assert = require("node:assert/strict");
const { startNode } = require("../helpers/node");
const { connectClient } = require("../helpers/socket-client");
const { settle, waitFor } = require("../helpers/wait");
const { startAnsweringNode } = require("./answering-node");
const { defer } = require("./defer");
const { EVENT, Traffic } = require("./traffic");
const { takeWarnings, warnings } = require("./warnings");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

/** A password that no message may hold. */
const SECRET = "hunter2-7f3a";
/** The observer's, whose rights are never touched. */
const OBSERVER = "observer:observes";
/** An argument of redis-server and not a command: users do not outlive a restart. */
const WITH_OBSERVER = ["--user", "observer", "on", ">observes", "~*", "&*", "+@all"];
/** An outage comes along with some causes, and is no cause of its own there. */
const OUTAGE = "ERR_SIO_REDIS_CONNECTION";

const OPTIONS = { heartbeatInterval: 300, heartbeatTimeout: 3_000 };

/** Long enough for a cause to be said a second time, were it said again and again. */
const REPETITION = 400;

/**
 * A node in this process, which Redis refuses, and an observer with all rights in a process of its
 * own; each with a client.
 *
 * @param {import("node:test").TestContext} t
 * @param {{ port: number, user?: string, adapterOptions?: Record<string, any> }} options
 *   `user` is `name:password` of the node
 */
async function startPair(t, { port, user, adapterOptions = {} }) {
  takeWarnings();
  const redis = { url: `redis://${user ? `${user}@` : ""}127.0.0.1:${port}` };
  const options = { ...OPTIONS, ...adapterOptions };
  const node = await startNode({
    redis: /** @type {any} */ (redis),
    client: "url",
    adapterOptions: options,
  });
  defer(t, () => node.close());
  const observer = await startAnsweringNode({
    redis: { url: `redis://${OBSERVER}@127.0.0.1:${port}` },
    adapterOptions: options,
  });
  defer(t, () => observer.kill());
  const [local, remote] = await Promise.all([connectClient(node.url), connectClient(observer.url)]);
  defer(t, () => [local, remote].forEach((client) => client.disconnect()));
  return new Pair(node.io, observer, local, remote);
}

class Pair {
  /**
   * @param {import("socket.io").Server} io the refused node
   * @param {import("../helpers/remote-node").ChildNode} observer
   * @param {SocketClient} local the client of the refused node
   * @param {SocketClient} remote the observer's
   */
  constructor(io, observer, local, remote) {
    this.io = io;
    this.observer = observer;
    this.local = local;
    this.remote = remote;
    this.traffic = new Traffic([io], [local]);
  }

  /** @returns {any} */
  get stats() {
    return /** @type {any} */ (this.io.of("/").adapter).stats();
  }

  /** Asserts that the local client gets everything emitted so far, in order, and this too. */
  async assertLocalDelivery() {
    for (let i = 0; i < 5; i++) {
      this.traffic.emit();
    }
    await this.traffic.assertComplete();
  }

  /** Emits packets that are written alone and packets that are written as a batch, by turns. */
  #emitSome() {
    const count = this.traffic.total % 2 === 0 ? 1 : 5;
    for (let i = 0; i < count; i++) {
      this.traffic.emit();
    }
  }

  /**
   * Asserts that exactly one warning says so, however often it is tried.
   *
   * @param {string} code
   * @param {RegExp[]} mentions what its message must name
   * @param {RegExp} [command] where several commands are refused: finds the one that a message is
   *   about, of which there may be one message each
   */
  async assertOneWarning(code, mentions, command) {
    await waitFor(
      () => {
        this.#emitSome();
        return warnings.some((warning) => warning.code === code);
      },
      { interval: 25, what: () => `a warning ${code}, not ${JSON.stringify(warnings)}` },
    );
    for (let waited = 0; waited < REPETITION; waited += 50) {
      this.#emitSome();
      await settle(50);
    }
    const said = takeWarnings().filter((warning) => warning.code !== OUTAGE);
    const causes = said.map(({ message }) => (command ? command.exec(message)?.[0] : "the cause"));
    const shown = JSON.stringify(said, null, 1);
    assert.equal(new Set(causes).size, said.length, `one warning of each cause, not ${shown}`);
    for (const warning of said) {
      assert.equal(warning.code, code);
      for (const mention of mentions) {
        assert.match(warning.message, mention);
      }
      assert.ok(!warning.message.includes(SECRET), "no secret is said");
      assert.ok(!warning.message.includes(EVENT), "nothing of a packet is said");
    }
  }

  /** Waits until requests are answered again. */
  async assertRequestsAgain() {
    /** @type {any} */
    let outcome;
    await waitFor(
      async () => {
        // What is asked before the subscriptions are back is answered in vain.
        outcome = await this.io.timeout(300).fetchSockets().catch(String);
        return outcome.length === 2;
      },
      { what: () => `a request to be answered, not ${outcome}` },
    );
  }

  /** Waits until packets cross again in both directions, and asserts that all of them do. */
  async assertDeliversAgain() {
    const { traffic, remote } = this;
    const start = traffic.counts[0];
    await waitFor(
      () => {
        traffic.emit();
        return remote.received(EVENT).some(([, number]) => number >= start);
      },
      { interval: 25, what: "a packet to reach the other node" },
    );
    const first = traffic.counts[0];
    for (let i = 0; i < 40; i++) {
      traffic.emit();
      if (i % 10 === 0) {
        await settle(5); // some alone, some as a batch
      }
    }
    const crossed = () =>
      remote.received(EVENT).flatMap(([, number]) => (number >= first ? [number] : []));
    await waitFor(() => crossed().length >= 40, {
      what: () => `40 packets from ${first} on at the other node, not ${crossed()}`,
    });
    await settle(50);
    assert.deepEqual(
      crossed(),
      Array.from({ length: 40 }, (_, i) => first + i),
    );
    await traffic.assertComplete();

    // Where it was refused from the start, reading begins some time after the cause is gone.
    const before = this.local.received("back").length;
    await waitFor(
      async () => {
        await this.observer.emit("back");
        return this.local.received("back").length > before;
      },
      { interval: 25, what: "a packet from the other node" },
    );
    await this.assertRequestsAgain();
  }
}

/**
 * The whole course: a node that is refused from its start, the cause removed, and there again.
 *
 * It breaks when a refusal is not told from an outage (packets wait without end), when local
 * delivery depends on Redis, when each attempt warns anew or only the first ever does, when a
 * message tells what it must not, and when a task gives up for good.
 *
 * @param {import("node:test").TestContext} t
 * @param {object} course
 * @param {number} course.port
 * @param {string} [course.user]
 * @param {() => Promise<unknown>} course.refuse
 * @param {() => Promise<unknown>} course.permit
 * @param {string} course.code
 * @param {RegExp[]} course.mentions
 * @param {RegExp} [course.command] see `assertOneWarning`
 */
async function assertCourse(t, course) {
  const { port, user, refuse, permit, code, mentions, command } = course;
  await refuse();
  defer(t, permit);
  const pair = await startPair(t, { port, user });
  for (const round of ["first", "second"]) {
    t.diagnostic(`${round} time`);
    await pair.assertLocalDelivery();
    await pair.assertOneWarning(code, mentions, command);
    await pair.assertLocalDelivery();
    await permit();
    await pair.assertDeliversAgain();
    takeWarnings();
    if (round === "first") {
      await refuse();
    }
  }
}

module.exports = {
  OPTIONS,
  OUTAGE,
  OBSERVER,
  REPETITION,
  SECRET,
  WITH_OBSERVER,
  assertCourse,
  startPair,
};

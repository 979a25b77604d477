// What is read of certificates and keys in JS, with the runtime's own crypto and tls: a node that
// reaches Redis by TLS, and one that trusts nobody but whom its runtime trusts.

"use strict";

const assert = require("node:assert/strict");
const { PASSPHRASE: passphrase, SERVER_NAME: servername } = require("../connection/certificates");
const { waitFor } = require("../helpers/wait");

/** @typedef {import("./node").RuntimeNode} RuntimeNode */

/**
 * @typedef {object} Check
 * @property {string} name
 * @property {(nodes: { trusting: RuntimeNode, doubting: RuntimeNode }) => Promise<void>} run
 */

/** @type {Check[]} */
const CHECKS_TLS = [
  {
    name: "TLS with a client certificate whose key is encrypted",
    async run({ trusting }) {
      await trusting.call("emit", "room", "hello");
      await waitFor(async () => (await trusting.call("stats")).published === 1, {
        what: () => `a packet to be written; ${trusting.errors}`,
      });
      assert.deepEqual(trusting.warnings, []);
      assert.equal(trusting.errors, "");
    },
  },
  {
    name: "TLS refuses whom the runtime does not trust",
    async run({ doubting }) {
      await waitFor(() => doubting.warnings.length > 0, { what: "a warning" });
      await doubting.call("emit", "room", "hello");
      const [{ code, message }] = doubting.warnings;
      assert.equal(code, "ERR_SIO_REDIS_TLS");
      assert.match(message, /UnknownIssuer/);
      assert.equal((await doubting.call("stats")).published, 0);
    },
  },
];

/**
 * @param {ReturnType<typeof import("../connection/certificates").makeCertificates>} certificates
 * @param {number} port where TLS is spoken
 */
function tlsSettings({ ca, cert, key, encryptedKey }, port) {
  const [host, reach] = ["127.0.0.1", { cert, servername }];
  return {
    trusting: { host, port, tls: { ...reach, ca, key: encryptedKey, passphrase } },
    doubting: { host, port, tls: { ...reach, key } },
  };
}

module.exports = { CHECKS_TLS, tlsSettings };

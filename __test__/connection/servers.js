// The two redis-servers of the live tests: an open one, and one with a password, an ACL user and
// TLS that asks for a client certificate. Both listen on a unix socket and, where it exists, on ::1.

"use strict";

const { freePort, startRedis } = require("../helpers/redis-server");

/** @typedef {import("../helpers/redis-server").RedisServer} RedisServer */
/** @typedef {ReturnType<import("./certificates").makeCertificates>} Certificates */

const PASSWORD = "p@ss:w/rd#?%20";
const ACL_USER = "ann@ops";
const ACL_PASSWORD = "s3cr:t/&é";
const NOPASS_USER = "guest";

const ATTEMPTS = 3;

/**
 * @param {Certificates} certificates
 * @param {import("../helpers/redis-server").RedisServerOptions & { clientCertificates: boolean }} options
 *   `clientCertificates`: whether TLS asks for them
 * @returns {Promise<RedisServer & { tlsPort: number }>}
 */
async function startTlsRedis(certificates, { clientCertificates, args = [], ...options }) {
  for (let attempt = 1; ; attempt++) {
    const tlsPort = await freePort();
    try {
      const server = await startRedis({
        ...options,
        unixSocket: true,
        args: [
          ...["--bind", "127.0.0.1", "-::1", "--tls-port", String(tlsPort)],
          ...["--tls-cert-file", certificates.serverFile],
          ...["--tls-key-file", certificates.serverKeyFile],
          ...["--tls-ca-cert-file", certificates.caFile],
          ...["--tls-auth-clients", clientCertificates ? "yes" : "no"],
          ...args,
        ],
      });
      return Object.assign(server, { tlsPort });
    } catch (error) {
      // The helper takes another plain port when one is taken meanwhile, the TLS port is ours.
      if (attempt === ATTEMPTS) {
        throw error;
      }
    }
  }
}

/** @param {Certificates} certificates */
function startOpen(certificates) {
  return startTlsRedis(certificates, {
    clientCertificates: false,
    args: ["--user", NOPASS_USER, "on", "nopass", "~*", "&*", "+@all"],
  });
}

/** @param {Certificates} certificates */
function startSecured(certificates) {
  return startTlsRedis(certificates, {
    clientCertificates: true,
    password: PASSWORD,
    args: [...["--user", ACL_USER, "on", `>${ACL_PASSWORD}`, "~*", "&*", "+@all"]],
  });
}

module.exports = {
  ACL_PASSWORD,
  ACL_USER,
  NOPASS_USER,
  PASSWORD,
  startOpen,
  startSecured,
  startTlsRedis,
};

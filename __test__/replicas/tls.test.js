// Reading from replicas over TLS, with a client certificate and a user of its own.

"use strict";

const { test } = require("node:test");
const { makeCertificates, SERVER_NAME } = require("../connection/certificates");
const { startTlsRedis } = require("../connection/servers");
const { defer } = require("../faults/defer");
const { assertNothingLost, readFrom, startReadingAt } = require("./reading");

const PASSWORD = "hunter2-7f3a";
const USER = ["--user", "app", "on", `>${PASSWORD}`, "~*", "&*", "+@all"];
/** With it a replica announces its TLS port, and not the other one. */
const REPLICATION = ["--tls-replication", "yes", "--masterauth", "pw"];
const PACKETS_PER_TICK = 4;

for (const option of /** @type {const} */ (["replica", "nearest"])) {
  test(`with readFrom: "${option}"`, async (t) => {
    const certificates = makeCertificates();
    defer(t, () => certificates.remove());
    const args = ["--repl-diskless-sync-delay", "0", ...REPLICATION, ...USER];
    const options = { clientCertificates: true, password: "pw" };
    const master = await startTlsRedis(certificates, { ...options, args });
    defer(t, () => master.remove());
    const follow = ["--replicaof", "127.0.0.1", String(master.tlsPort)];
    const replica = await startTlsRedis(certificates, { ...options, args: [...args, ...follow] });
    defer(t, () => replica.remove());
    const { ca, cert, key } = certificates;
    const settings = {
      ...{ host: "127.0.0.1", port: master.tlsPort, username: "app", password: PASSWORD },
      tls: { ca, cert, key, servername: SERVER_NAME },
    };
    const { two, traffic, losses } = await startReadingAt(t, settings, { readFrom: option });
    await readFrom(two, "replica");
    traffic.start(PACKETS_PER_TICK);
    await traffic.flows();
    traffic.stop();
    await traffic.assertComplete();
    assertNothingLost(losses);
  });
}

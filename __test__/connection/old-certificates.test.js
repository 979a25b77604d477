// Certificates that OpenSSL takes, and so every client, but not the engine's own library: those of
// X.509 version 1, which `openssl x509 -req` makes without extensions, and short RSA keys.

"use strict";

const { execFileSync } = require("node:child_process");
const { mkdtempSync, readFileSync, rmSync, writeFileSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { after, before, describe, test } = require("node:test");

const { Emitter } = require("../..");
const { freePort, startRedis } = require("../helpers/redis-server");
const { within } = require("../helpers/wait");
const { SERVER_NAME, makeCertificates } = require("./certificates");

describe("certificates of version 1 and with short keys", () => {
  /** @type {string} */
  let directory;
  /** @type {ReturnType<typeof makeCertificates>} */
  let certificates;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "sio-redis-old-certificates-"));
    certificates = makeCertificates();
    // OpenSSL itself refuses short keys by default.
    writeFileSync(
      file("openssl.cnf"),
      "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nCipherString = DEFAULT@SECLEVEL=0\n",
    );
  });
  after(() => {
    certificates?.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  /** @param {string} name */
  function file(name) {
    return join(directory, name);
  }

  /** A certificate of version 1 that signs itself. @param {string} name @param {string[]} newKey */
  function certificate(name, newKey) {
    const openssl = (/** @type {string[]} */ ...args) =>
      execFileSync("openssl", args, { cwd: directory, stdio: "pipe" });
    openssl(
      ...["req", "-new", "-newkey", ...newKey, "-nodes", "-subj", `/CN=${SERVER_NAME}`],
      ...["-keyout", `${name}.key`, "-out", `${name}.csr`],
    );
    openssl(
      ...["x509", "-req", "-in", `${name}.csr`, "-signkey", `${name}.key`, "-days", "2"],
      ...["-out", `${name}.pem`],
    );
    return { cert: file(`${name}.pem`), key: file(`${name}.key`) };
  }

  /**
   * @param {import("node:test").TestContext} t
   * @param {{ cert: string, key: string }} own
   * @param {{ clients?: string, protocols?: string }} [options] `clients`: the certificates that
   *   clients must have
   */
  async function start(t, { cert, key }, { clients, protocols = "TLSv1.2 TLSv1.3" } = {}) {
    const port = await freePort();
    const server = await startRedis({
      env: { OPENSSL_CONF: file("openssl.cnf") },
      args: [
        ...["--tls-port", String(port), "--tls-cert-file", cert, "--tls-key-file", key],
        ...["--tls-ca-cert-file", clients ?? cert, "--tls-protocols", protocols],
        ...["--tls-auth-clients", clients === undefined ? "no" : "yes"],
      ],
    });
    t.after(() => server.stop());
    return { host: "127.0.0.1", port };
  }

  /** @param {any} settings */
  async function assertPublishes(settings) {
    const emitter = new Emitter(settings);
    try {
      emitter.emit("hello");
      await within(emitter.flush(), "the packet to be written");
    } finally {
      await emitter.close();
    }
  }

  for (const [what, newKey] of /** @type {[string, string[]][]} */ ([
    ["of version 1", ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]],
    ["with a short RSA key", ["rsa:1024"]],
  ])) {
    for (const protocols of ["TLSv1.2", "TLSv1.3"]) {
      test(`without verification, a server's ${what}, ${protocols}`, async (t) => {
        const own = certificate(`server-${newKey[0].replace(":", "")}-${protocols}`, newKey);
        const where = await start(t, own, { protocols });
        await assertPublishes({ ...where, tls: { rejectUnauthorized: false } });
      });
    }
  }

  test("a client certificate of version 1 is sent as it is", async (t) => {
    const own = certificate("client", ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    const cert = readFileSync(own.cert, "utf8");
    const server = { cert: certificates.serverFile, key: certificates.serverKeyFile };
    const where = await start(t, server, { clients: own.cert });
    const tls = { ca: certificates.ca, servername: SERVER_NAME, cert };
    await assertPublishes({ ...where, tls: { ...tls, key: readFileSync(own.key, "utf8") } });
  });
});

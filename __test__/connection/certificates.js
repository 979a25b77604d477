// Certificates for a test, made by the openssl command in a temporary directory: an authority, a
// server's for the name "redis.test" only, and a client's with its key in several forms.

"use strict";

const { execFileSync } = require("node:child_process");
const { mkdtempSync, readFileSync, rmSync, writeFileSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");

const SERVER_NAME = "redis.test";
const PASSPHRASE = "pass phrase of the key";

function makeCertificates() {
  const directory = mkdtempSync(join(tmpdir(), "sio-redis-certificates-"));
  /** @param {string} name */
  const file = (name) => join(directory, name);
  /** @param {string[]} args */
  const openssl = (...args) => execFileSync("openssl", args, { cwd: directory, stdio: "pipe" });

  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const authority = ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2"];
  openssl(
    ...["req", "-x509", ...newKey, "-keyout", "ca-key.pem", "-out", "ca.pem"],
    ...["-days", "2", "-subj", "/CN=test authority"],
  );
  for (const [name, subject] of [
    ["server", SERVER_NAME],
    ["client", "test client"],
  ]) {
    openssl(
      ...["req", ...newKey, "-keyout", `${name}-key.pem`, "-out", `${name}.csr`],
      ...["-subj", `/CN=${subject}`],
    );
    writeFileSync(file(`${name}.ext`), `subjectAltName=DNS:${SERVER_NAME}\n`);
    openssl(
      ...["x509", "-req", "-in", `${name}.csr`, ...authority, "-extfile", `${name}.ext`],
      ...["-out", `${name}.pem`],
    );
  }
  openssl("ec", "-in", "client-key.pem", "-out", "client-key-sec1.pem");
  openssl(
    ...["pkcs8", "-topk8", "-in", "client-key.pem", "-out", "client-key-encrypted.pem"],
    ...["-passout", `pass:${PASSPHRASE}`],
  );
  openssl(
    ...["pkcs12", "-export", "-in", "client.pem", "-inkey", "client-key.pem"],
    ...["-out", "client.pfx", "-passout", `pass:${PASSPHRASE}`],
  );
  return {
    ca: readFileSync(file("ca.pem"), "utf8"),
    caFile: file("ca.pem"),
    serverFile: file("server.pem"),
    serverKeyFile: file("server-key.pem"),
    server: readFileSync(file("server.pem"), "utf8"),
    serverKey: readFileSync(file("server-key.pem"), "utf8"),
    cert: readFileSync(file("client.pem"), "utf8"),
    key: readFileSync(file("client-key.pem"), "utf8"),
    sec1Key: readFileSync(file("client-key-sec1.pem"), "utf8"),
    encryptedKey: readFileSync(file("client-key-encrypted.pem"), "utf8"),
    pfx: readFileSync(file("client.pfx")),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

module.exports = { makeCertificates, PASSPHRASE, SERVER_NAME };

"use strict";
// Turns the options of Node's `tls.connect`, which all clients take, into the engine's TLS settings.
// The engine's TLS is not OpenSSL: it gets PEM text and unencrypted PKCS8 keys. This refuses options
// that the engine does not support, so that none of the user's checks is silently skipped.

const crypto = require("node:crypto");
const fs = require("node:fs");
const nodeTls = require("node:tls");

const { settingError, warnIgnored } = require("./errors.js");
const { isMissing, text, typeName } = require("./values.js");

/** @typedef {import("./errors.js").Context} Context */

/**
 * @typedef {object} TlsSettings
 * @property {string[]} ca PEM, one certificate each: the user's, or the roots that Node.js trusts
 * @property {string} [cert] PEM, the client certificate and its chain
 * @property {string} [key] PEM, PKCS8, not encrypted
 * @property {string} [servername] sent and checked in place of the host
 * @property {boolean} rejectUnauthorized
 */

/** Options for authentication or checks, each with the advice in the error. */
const REFUSED = {
  checkServerIdentity:
    "leave it out (the certificate is checked against `servername`, or else the host), or set " +
    "`servername` to the name in the certificate",
  secureContext: "give `ca`, `cert` and `key` in PEM instead",
  pfx: "give `cert` and `key` in PEM instead (`openssl pkcs12 -in file.pfx -nodes` writes both)",
  ALPNProtocols: "leave it out, Redis knows no ALPN",
  socket: "give `host` and `port` instead, the adapter opens connections of its own",
  crl: "leave it out, certificates are not checked for revocation",
  pskCallback: "give `cert` and `key` instead",
  privateKeyIdentifier: "give `key` in PEM instead",
  privateKeyEngine: "give `key` in PEM instead",
  clientCertEngine: "give `cert` and `key` in PEM instead",
};

/** Options that choose algorithms. The engine has TLS 1.2 and 1.3 with secure algorithms only. */
const ALGORITHMS = [
  "ciphers",
  "sigalgs",
  "ecdhCurve",
  "maxVersion",
  "secureProtocol",
  "secureOptions",
  "minDHSize",
];

const CERTIFICATE =
  /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----.+?-----END (?:X509 |TRUSTED )?CERTIFICATE-----/gs;

/**
 * @param {Context} context
 * @param {string} at where the options are, such as "tls." or "socket."
 * @param {any} options of `tls.connect`
 * @returns {TlsSettings}
 */
function tlsSettings(context, at, options) {
  refuseUncarried(context, at, options);
  const servername = text(context, `${at}servername`, options.servername);
  return {
    ca: isEmpty(options.ca)
      ? trustedByNode()
      : certificates(context, `${at}ca`, [options.ca].flat()),
    ...clientCertificate(context, at, options),
    ...(servername === undefined ? {} : { servername }),
    rejectUnauthorized: rejectsUnauthorized(options),
  };
}

/**
 * @param {Context} context
 * @param {string} at
 * @param {any} options
 */
function refuseUncarried(context, at, options) {
  for (const [name, advice] of Object.entries(REFUSED)) {
    const value = options[name];
    if (!isMissing(value) && value !== nodeTls.checkServerIdentity) {
      throw settingError(
        context,
        at + name,
        `cannot be carried over to the adapter's own connections: ${advice}`,
      );
    }
  }
  if (options.minVersion === "TLSv1.3" || options.secureProtocol === "TLSv1_3_method") {
    const name = options.minVersion === "TLSv1.3" ? "minVersion" : "secureProtocol";
    throw settingError(
      context,
      at + name,
      "cannot be carried over to the adapter's own connections: leave it out, 1.3 is used where " +
        "the server knows it, and let the server refuse 1.2",
    );
  }
  for (const name of ALGORITHMS) {
    if (!isMissing(options[name])) {
      warnIgnored(
        context,
        at + name,
        "the adapter's connections use TLS 1.3 or 1.2 with algorithms of their own choice",
      );
    }
  }
}

/**
 * As in Node.js: the environment variable has no effect if the option is present, even if undefined.
 *
 * @param {any} options
 * @returns {boolean}
 */
function rejectsUnauthorized(options) {
  return "rejectUnauthorized" in options
    ? options.rejectUnauthorized !== false
    : process.env.NODE_TLS_REJECT_UNAUTHORIZED !== "0";
}

/**
 * @param {Context} context
 * @param {string} at
 * @param {any} options
 * @returns {{ cert?: string, key?: string }}
 */
function clientCertificate(context, at, options) {
  const { cert, key } = options;
  if (isEmpty(cert) && isEmpty(key)) {
    return {};
  }
  if (isEmpty(cert) || isEmpty(key)) {
    const [given, absent] = isEmpty(key) ? ["cert", "key"] : ["key", "cert"];
    throw settingError(
      context,
      at + given,
      `was given without \`${at}${absent}\`: a client certificate takes both`,
    );
  }
  const chain = certificates(context, `${at}cert`, [single(context, `${at}cert`, cert)]);
  const privateKey = readKey(context, at, single(context, `${at}key`, key), options.passphrase);
  if (!new crypto.X509Certificate(chain[0]).checkPrivateKey(privateKey)) {
    throw settingError(context, `${at}key`, `does not belong to the certificate in \`${at}cert\``);
  }
  return {
    cert: chain.join(""),
    key: String(privateKey.export({ type: "pkcs8", format: "pem" })),
  };
}

/**
 * @param {Context} context
 * @param {string} name
 * @param {unknown} value may be a list in Node.js, for servers that have keys of several kinds
 */
function single(context, name, value) {
  if (!Array.isArray(value)) {
    return value;
  }
  if (value.length > 1) {
    throw settingError(context, name, "holds several entries: give the one that Redis trusts");
  }
  return value[0];
}

/**
 * @param {Context} context
 * @param {string} at
 * @param {any} key PEM, or Node's { pem, passphrase }
 * @param {unknown} passphrase
 */
function readKey(context, at, key, passphrase) {
  const name = `${at}key`;
  const ownPassphrase = isMissing(key?.pem) ? undefined : key.passphrase;
  try {
    return crypto.createPrivateKey({
      key: pemText(context, name, key?.pem ?? key),
      format: "pem",
      passphrase: text(context, `${at}passphrase`, ownPassphrase ?? passphrase),
    });
  } catch (error) {
    const code = /** @type {NodeJS.ErrnoException} */ (error).code;
    if (code === "ERR_SIO_REDIS_SETTING") {
      throw error;
    }
    throw settingError(
      context,
      name,
      `could not be read (${code ?? "no PEM key"}): give the PEM text of a private key, and ` +
        `\`${at}passphrase\` when it is encrypted`,
    );
  }
}

/**
 * @param {Context} context
 * @param {string} name
 * @param {unknown[]} values PEM text or bytes, each with at least one certificate
 * @returns {string[]} PEM, one certificate each
 */
function certificates(context, name, values) {
  return values.flatMap((value) => {
    const found = pemText(context, name, value).match(CERTIFICATE);
    if (found === null) {
      throw settingError(
        context,
        name,
        "holds no PEM certificate: give a file's content and not its name",
      );
    }
    return found.map((pem) => {
      const certificate = normalized(pem);
      if (certificate === undefined) {
        throw settingError(context, name, "holds a certificate that cannot be read");
      }
      return certificate;
    });
  });
}

/**
 * @param {Context} context
 * @param {string} name
 * @param {unknown} value
 */
function pemText(context, name, value) {
  if (typeof value === "string") {
    return value;
  }
  if (ArrayBuffer.isView(value)) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString();
  }
  throw settingError(context, name, `must be PEM text or a Buffer with it, not ${typeName(value)}`);
}

/** @param {unknown} value */
function isEmpty(value) {
  return isMissing(value) || value === "";
}

/**
 * @returns {string[]} the roots that a TLS connection of this process trusts by default
 */
function trustedByNode() {
  const { getCACertificates } = /** @type {{ getCACertificates?: (type: string) => string[] }} */ (
    nodeTls
  );
  if (getCACertificates !== undefined) {
    return getCACertificates("default");
  }
  return [...nodeTls.rootCertificates, ...extraCertificates()];
}

/**
 * @returns {string[]} those of NODE_EXTRA_CA_CERTS. If that file cannot be read, Node.js has warned at
 *   its start, and the connection is made without it.
 */
function extraCertificates() {
  const file = process.env.NODE_EXTRA_CA_CERTS;
  if (isEmpty(file)) {
    return [];
  }
  try {
    const pem = fs.readFileSync(/** @type {string} */ (file), "utf8");
    return (pem.match(CERTIFICATE) ?? []).flatMap((certificate) => normalized(certificate) ?? []);
  } catch {
    return [];
  }
}

/**
 * @param {string} pem of one certificate
 * @returns {string | undefined} as a plain certificate, without OpenSSL's trust settings; undefined
 *   if it cannot be read
 */
function normalized(pem) {
  try {
    return new crypto.X509Certificate(pem).toString();
  } catch {
    return undefined;
  }
}

module.exports = { tlsSettings };

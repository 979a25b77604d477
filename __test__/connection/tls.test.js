// Certificates and keys in all the forms that Node takes, and the TLS options that are refused.

"use strict";

const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const { generateKeyPairSync } = require("node:crypto");
const { after, before, describe, test } = require("node:test");
const tls = require("node:tls");
const { inspect } = require("node:util");

const { connectionSettings } = require("../../lib/connection");
const { makeCertificates, PASSPHRASE } = require("./certificates");
const { disconnect, VERSIONS } = require("./versions");

/** @type {ReturnType<typeof makeCertificates>} */
let certificates;
before(() => {
  certificates = makeCertificates();
});
after(() => certificates?.remove());

/** @param {unknown} input */
function resultOf(input) {
  /** @type {string[]} */
  const warnings = [];
  const settings = connectionSettings(input, {
    warn: (code, message) => warnings.push(message),
  });
  return { tls: settings.tls, warnings };
}

/** @param {object} options */
function tlsOf(options) {
  const result = resultOf({ tls: options });
  assert.deepEqual(result.warnings, []);
  assert.ok(result.tls);
  return result.tls;
}

/**
 * @param {() => unknown} action
 * @param {RegExp} message
 */
function assertRefused(action, message) {
  assert.throws(action, (error) => {
    assert.ok(error instanceof TypeError);
    assert.equal(/** @type {any} */ (error).code, "ERR_SIO_REDIS_SETTING");
    assert.match(error.message, message);
    const shown = inspect(error, { showHidden: true, depth: 9 });
    assert.ok(!shown.includes(PASSPHRASE) && !shown.includes("PRIVATE KEY-----"));
    return true;
  });
}

describe("certificates", () => {
  test("a bundle is taken apart, whatever stands between", () => {
    const bundle = `the first\n${certificates.ca}\nthe second\r\n${certificates.server}`;
    assert.deepEqual(tlsOf({ ca: bundle }).ca, [certificates.ca, certificates.server]);
    assert.deepEqual(tlsOf({ ca: [certificates.ca, Buffer.from(certificates.server)] }).ca, [
      certificates.ca,
      certificates.server,
    ]);
  });

  test("a chain stays together, without a key in the same file", () => {
    const { cert } = tlsOf({
      cert: certificates.key + certificates.cert + certificates.ca,
      key: certificates.key,
    });
    assert.equal(cert, certificates.cert + certificates.ca);
  });

  test("an empty list trusts nobody", () => {
    assert.deepEqual(tlsOf({ ca: [] }).ca, []);
  });

  test("what is no certificate is refused", () => {
    const broken = certificates.ca.replace(/\n./, "\n!");
    assertRefused(() => tlsOf({ ca: "/etc/ssl/ca.pem" }), /`tls.ca` holds no PEM certificate/);
    assertRefused(() => tlsOf({ ca: broken }), /`tls.ca` holds a certificate that cannot be read/);
    assertRefused(() => tlsOf({ ca: [{}] }), /`tls.ca` must be PEM text or a Buffer/);
    assertRefused(
      () => tlsOf({ cert: certificates.key, key: certificates.key }),
      /`tls.cert` holds no PEM certificate/,
    );
  });
});

describe("keys", () => {
  test("every form becomes PKCS8 without encryption", () => {
    const { cert } = certificates;
    assert.match(certificates.sec1Key, /BEGIN EC PRIVATE KEY/);
    assert.match(certificates.encryptedKey, /BEGIN ENCRYPTED PRIVATE KEY/);
    for (const options of [
      { cert, key: certificates.key },
      { cert, key: Buffer.from(certificates.key) },
      { cert: [cert], key: [certificates.sec1Key] },
      { cert, key: certificates.cert + certificates.sec1Key },
      { cert, key: certificates.encryptedKey, passphrase: PASSPHRASE },
      { cert, key: [{ pem: certificates.encryptedKey, passphrase: PASSPHRASE }] },
      { cert, key: { pem: certificates.encryptedKey }, passphrase: PASSPHRASE },
    ]) {
      assert.equal(tlsOf(options).key, certificates.key);
    }
  });

  test("a key that cannot be used is refused", () => {
    const { cert, key, encryptedKey } = certificates;
    const other = generateKeyPairSync("ec", { namedCurve: "prime256v1" }).privateKey.export({
      type: "pkcs8",
      format: "pem",
    });
    assertRefused(
      () => tlsOf({ cert, key: encryptedKey }),
      /`tls.key` could not be read .*`tls.pass/,
    );
    assertRefused(
      () => tlsOf({ cert, key: encryptedKey, passphrase: `not ${PASSPHRASE}` }),
      /`tls.key` could not be read .*`tls.passphrase`/,
    );
    assertRefused(() => tlsOf({ cert, key: "key.pem" }), /`tls.key` could not be read/);
    assertRefused(() => tlsOf({ cert, key: 1 }), /`tls.key` must be PEM text or a Buffer/);
    assertRefused(() => tlsOf({ cert, key: other }), /`tls.key` does not belong to .*`tls.cert`/);
    assertRefused(() => tlsOf({ cert }), /`tls.cert` was given without `tls.key`/);
    assertRefused(() => tlsOf({ key }), /`tls.key` was given without `tls.cert`/);
    assertRefused(() => tlsOf({ cert: [cert, cert], key }), /`tls.cert` holds several entries/);
  });
});

describe("the process's own settings", () => {
  /**
   * In a process of its own, for newer versions of Node read them when they start.
   *
   * @param {NodeJS.ProcessEnv} env
   * @param {string} [input] as source text
   */
  function tlsWith(env, input = '"rediss://redis.test"') {
    const script = `
      const { connectionSettings } = require("./lib/connection");
      const { tls } = connectionSettings(${input}, { warn() {} });
      console.log(JSON.stringify(tls));`;
    const output = execFileSync(process.execPath, ["--no-warnings", "-e", script], {
      cwd: `${__dirname}/../..`,
      env: { ...process.env, NODE_EXTRA_CA_CERTS: "", ...env },
      stdio: ["ignore", "pipe", "ignore"],
    });
    return JSON.parse(String(output));
  }

  test("NODE_EXTRA_CA_CERTS is trusted as well", () => {
    const { ca } = tlsWith({ NODE_EXTRA_CA_CERTS: certificates.caFile });
    assert.ok(ca.includes(certificates.ca));
    assert.equal(ca.length, tls.rootCertificates.length + 1);
  });

  test("a NODE_EXTRA_CA_CERTS that is not there is no obstacle", () => {
    const { ca } = tlsWith({ NODE_EXTRA_CA_CERTS: `${certificates.caFile}.missing` });
    assert.equal(ca.length, tls.rootCertificates.length);
  });

  test("NODE_TLS_REJECT_UNAUTHORIZED=0 counts where the user says nothing", () => {
    const off = { NODE_TLS_REJECT_UNAUTHORIZED: "0" };
    assert.equal(tlsWith(off).rejectUnauthorized, false);
    assert.equal(tlsWith({ NODE_TLS_REJECT_UNAUTHORIZED: "1" }).rejectUnauthorized, true);
    for (const value of ["true", "undefined"]) {
      const input = `{ tls: { rejectUnauthorized: ${value} } }`;
      assert.equal(tlsWith(off, input).rejectUnauthorized, true, "as in Node");
    }
  });
});

for (const { name, family, create } of VERSIONS) {
  describe(`${name}'s TLS options`, () => {
    const at = family === "node-redis" ? "socket" : "tls";

    /**
     * @param {object} options
     * @param {import("node:test").TestContext} t
     */
    const client = (options, t) => {
      const created = create(
        family === "node-redis" ? { socket: { tls: true, ...options } } : { tls: options },
      );
      t.after(() => disconnect(created));
      return created;
    };

    for (const [option, value] of Object.entries({
      checkServerIdentity: () => {},
      secureContext: tls.createSecureContext(),
      pfx: Buffer.from("PFX"),
      ALPNProtocols: ["redis"],
      socket: new (require("node:net").Socket)(),
      crl: "CRL",
      pskCallback: () => {},
      privateKeyIdentifier: "id",
      privateKeyEngine: "engine",
      clientCertEngine: "engine",
    })) {
      test(`${option} is refused`, (t) => {
        assertRefused(
          () => resultOf(client({ [option]: value }, t)),
          new RegExp(`\`${at}\\.${option}\` cannot be carried over .*: (give|leave)`),
        );
      });
    }

    test("only TLS 1.3 is refused, older minima are met anyway", (t) => {
      for (const option of [{ minVersion: "TLSv1.3" }, { secureProtocol: "TLSv1_3_method" }]) {
        assertRefused(() => resultOf(client(option, t)), /Version|secureProtocol/);
      }
      assert.deepEqual(resultOf(client({ minVersion: "TLSv1.2" }, t)).warnings, []);
    });

    test("Node's own check of the name is ours", (t) => {
      const options = { checkServerIdentity: tls.checkServerIdentity };
      assert.deepEqual(resultOf(client(options, t)).warnings, []);
    });

    test("a choice of algorithms is warned of", (t) => {
      for (const option of ["ciphers", "sigalgs", "ecdhCurve", "maxVersion", "minDHSize"]) {
        const { warnings } = resultOf(client({ [option]: "x" }, t));
        assert.equal(warnings.length, 1);
        assert.ok(warnings[0].includes(`\`${at}.${option}\` is ignored`));
      }
    });

    test("only false turns verification off, as in Node", (t) => {
      for (const value of [0, "", null, true]) {
        const { rejectUnauthorized } = resultOf(client({ rejectUnauthorized: value }, t)).tls ?? {};
        assert.equal(rejectUnauthorized, true);
      }
      const off = resultOf(client({ rejectUnauthorized: false }, t)).tls;
      assert.equal(off?.rejectUnauthorized, false);
    });

    test("what is undefined is not given", (t) => {
      const options = { ca: undefined, servername: undefined, checkServerIdentity: undefined };
      const settings = resultOf(client({ ...options, rejectUnauthorized: undefined }, t)).tls;
      assert.deepEqual(Object.keys(settings ?? {}).sort(), ["ca", "rejectUnauthorized"]);
      assert.equal(settings?.rejectUnauthorized, true);
    });
  });
}

test("without TLS, TLS options of a node-redis client have no meaning, as for the client", () => {
  const client = VERSIONS[2].create({ socket: { checkServerIdentity() {}, ca: "nonsense" } });
  assert.deepEqual(resultOf(client), { tls: undefined, warnings: [] });
});

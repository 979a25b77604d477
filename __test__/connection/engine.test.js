// The engine gets in with the settings of every client: two nodes, one message across. And what it
// must refuse, with a warning that says why.

"use strict";

const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const { mkdtempSync, readFileSync, rmSync, writeFileSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { after, before, describe, test } = require("node:test");
const { Server } = require("socket.io");

const { createAdapter } = require("../..");
const { freePort, startRedis } = require("../helpers/redis-server");
const { waitFor } = require("../helpers/wait");
const { PASSPHRASE, SERVER_NAME, makeCertificates } = require("./certificates");
const { ACL_PASSWORD, ACL_USER, PASSWORD, startOpen, startSecured } = require("./servers");
const { VERSIONS } = require("./versions");

// The nodes here have no HTTP server, and the adapter keeps no process alive on its own.
const alive = setInterval(() => {}, 60_000);
after(() => clearInterval(alive));

/** Two nodes without clients; a serverSideEmit and a join tell that streams and PUB/SUB work. */
async function assertExchange(/** @type {any} */ input) {
  const nodes = [input, input].map((each) => new Server({ adapter: createAdapter(each) }));
  try {
    const [a, b] = nodes;
    await waitFor(async () => (await a.of("/").adapter.serverCount()) === 2, {
      what: "both nodes to be counted",
    });
    const heard = new Promise((resolve) => b.on("hello", (/** @type {any} */ x) => resolve(x)));
    a.serverSideEmit("hello", "world");
    assert.equal(await heard, "world");
    const read = () => /** @type {any} */ (b.of("/").adapter).stats().read;
    a.emit("an entry");
    await waitFor(() => read() === 1, { what: "the entry to be read by the other node" });
  } finally {
    await Promise.all(nodes.map((node) => node.of("/").adapter.close()));
  }
}

/** The codes of the warnings that come while `work` runs. @param {() => Promise<void>} work */
async function warningsOf(work) {
  /** @type {any[]} */
  const warnings = [];
  /** @param {any} warning */
  const listener = (warning) => warnings.push(warning);
  process.on("warning", listener);
  try {
    await work();
  } finally {
    process.off("warning", listener);
  }
  return warnings;
}

/** What a node says that cannot get in. @param {any} input */
async function refusal(input) {
  /** @type {any[]} */
  let warnings = [];
  const node = new Server({ adapter: createAdapter(input) });
  warnings = await warningsOf(async () => {
    await new Promise((resolve) => process.once("warning", resolve));
  });
  const { position } = /** @type {any} */ (node.of("/").adapter).stats();
  assert.equal(position, undefined);
  await node.of("/").adapter.close();
  return warnings[0];
}

describe("the engine gets in with the settings of", () => {
  /** @type {ReturnType<typeof makeCertificates>} */
  let certificates;
  /** @type {Awaited<ReturnType<typeof startOpen>>} */
  let open;
  /** @type {Awaited<ReturnType<typeof startSecured>>} */
  let secured;
  before(async () => {
    certificates = makeCertificates();
    [open, secured] = await Promise.all([startOpen(certificates), startSecured(certificates)]);
  });
  after(async () => {
    await Promise.all([open?.stop(), secured?.stop()]);
    certificates?.remove();
  });

  const tls = () => ({
    ca: certificates.ca,
    cert: certificates.cert,
    key: certificates.encryptedKey,
    passphrase: PASSPHRASE,
    servername: SERVER_NAME,
  });

  for (const { name, family, create } of VERSIONS) {
    const isNodeRedis = family === "node-redis";

    test(`${name}: ACL user, database, TLS with a client certificate`, async () => {
      const login = { username: ACL_USER, password: ACL_PASSWORD };
      const client = isNodeRedis
        ? create({
            ...login,
            database: 3,
            socket: { host: "127.0.0.1", port: secured.tlsPort, tls: true, ...tls() },
          })
        : create({ ...login, db: 3, host: "127.0.0.1", port: secured.tlsPort, tls: tls() });
      await assertExchange(client);
    });

    test(`${name}: unix socket and password`, async () => {
      const path = secured.socketPath;
      const client = isNodeRedis
        ? create({ password: PASSWORD, socket: { path } })
        : create({ password: PASSWORD, path });
      await assertExchange(client);
    });
  }

  test("a URL, and settings", async () => {
    await assertExchange(`redis://127.0.0.1:${open.port}/2`);
    await assertExchange({ host: "localhost", port: open.port });
    await assertExchange({
      port: secured.tlsPort,
      host: "127.0.0.1",
      password: PASSWORD,
      tls: tls(),
    });
  });

  test("a credentials provider that is asked at each connect", async () => {
    let asked = 0;
    const credentials = async () => {
      asked++;
      return { username: ACL_USER, password: ACL_PASSWORD };
    };
    await assertExchange({ path: secured.socketPath, credentials });
    assert.ok(asked >= 6, `asked ${asked} times for at least three connections of two nodes`);
  });

  test("a wrong authority, name or login is refused, and no secret said", async () => {
    const address = { host: "127.0.0.1", port: secured.tlsPort, password: PASSWORD };
    const unknownAuthority = await refusal({ ...address, tls: { ...tls(), ca: undefined } });
    assert.equal(unknownAuthority.code, "ERR_SIO_REDIS_TLS");
    assert.match(unknownAuthority.message, /UnknownIssuer.*tls\.ca/);
    const wrongName = await refusal({ ...address, tls: { ...tls(), servername: "other.test" } });
    assert.equal(wrongName.code, "ERR_SIO_REDIS_TLS");
    assert.match(wrongName.message, /not valid for name.*tls\.servername/i);
    const login = await refusal({ ...address, tls: tls(), password: "not the password" });
    assert.equal(login.code, "ERR_SIO_REDIS_AUTH");
    assert.doesNotMatch(login.message, /not the password/);
  });
});

describe("a password that the server does not ask for", () => {
  /** @type {import("../helpers/redis-server").RedisServer} */
  let server;
  before(async () => {
    server = await startRedis();
  });
  after(() => server?.stop());

  for (const { name, create } of VERSIONS.slice(3)) {
    test(`${name} connects, and so does the adapter: one warning tells it`, async () => {
      const { host, port } = server;
      const warnings = await warningsOf(() =>
        assertExchange(create({ host, port, password: PASSWORD })),
      );
      // One for each of the two nodes.
      assert.deepEqual(
        warnings.map(({ code }) => code),
        ["ERR_SIO_REDIS_AUTH", "ERR_SIO_REDIS_AUTH"],
      );
      assert.match(warnings[0].message, /goes on without a login/);
      assert.ok(!warnings[0].message.includes(PASSWORD));
    });
  }
});

describe("a self-signed certificate that is its own authority", () => {
  /** @type {string} */
  let directory;
  /** @type {import("../helpers/redis-server").RedisServer[]} */
  const servers = [];
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "sio-redis-self-signed-"));
  });
  after(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    rmSync(directory, { recursive: true, force: true });
  });

  /** A server with a certificate of its own. @param {string} name @param {number} days */
  async function start(name, days) {
    const file = (/** @type {string} */ suffix) => join(directory, name + suffix);
    const openssl = (/** @type {string[]} */ ...args) =>
      execFileSync("openssl", args, { stdio: "pipe" });
    openssl(
      ...["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-keyout", file(".key"), "-out", file(".csr"), "-subj", "/CN=localhost"],
    );
    writeFileSync(
      file(".ext"),
      "subjectAltName=DNS:localhost\nbasicConstraints=critical,CA:TRUE\n",
    );
    openssl(
      ...["x509", "-req", "-in", file(".csr"), "-signkey", file(".key"), "-out", file(".pem")],
      ...["-extfile", file(".ext"), "-days", String(days)],
    );
    const tlsPort = await freePort();
    servers.push(
      await startRedis({
        args: [
          ...["--tls-port", String(tlsPort), "--tls-auth-clients", "no"],
          ...["--tls-cert-file", file(".pem"), "--tls-key-file", file(".key")],
          ...["--tls-ca-cert-file", file(".pem")],
        ],
      }),
    );
    return { host: "127.0.0.1", port: tlsPort, ca: readFileSync(file(".pem"), "utf8") };
  }

  test("is accepted for its name, and only for it", async () => {
    const { ca, ...address } = await start("valid", 2);
    await assertExchange({ ...address, tls: { ca, servername: "localhost" } });
    const { code } = await refusal({ ...address, tls: { ca, servername: "other.test" } });
    assert.equal(code, "ERR_SIO_REDIS_TLS");
  });

  test("is refused when it is not the one that is trusted, and accepted unverified", async () => {
    const { ca: _, ...address } = await start("one", 2);
    const { ca } = await start("another", 2);
    const { code } = await refusal({ ...address, tls: { ca, servername: "localhost" } });
    assert.equal(code, "ERR_SIO_REDIS_TLS");
    await assertExchange({ ...address, tls: { rejectUnauthorized: false } });
  });

  test("is refused when it has expired", async () => {
    const { ca, ...address } = await start("expired", -1);
    const { code, message } = await refusal({ ...address, tls: { ca, servername: "localhost" } });
    assert.equal(code, "ERR_SIO_REDIS_TLS");
    assert.match(message, /expired/i);
  });
});

// Every supported client against live servers, before and after connecting: the settings are the
// ones expected, and a connection made of them is at the same place as the same user.

"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");
const { networkInterfaces } = require("node:os");

const { connectionSettings } = require("../../lib/connection");
const { within } = require("../helpers/wait");
const { makeCertificates, PASSPHRASE, SERVER_NAME } = require("./certificates");
const { openProbe, whereAndWho } = require("./probe");
const {
  ACL_PASSWORD,
  ACL_USER,
  NOPASS_USER,
  PASSWORD,
  startOpen,
  startSecured,
} = require("./servers");
const { call, disconnect, VERSIONS } = require("./versions");

const hasIpv6Loopback = Object.values(networkInterfaces())
  .flat()
  .some((address) => address?.address === "::1");

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

const host = "127.0.0.1";
const userInfo = `${encodeURIComponent(ACL_USER)}:${encodeURIComponent(ACL_PASSWORD)}`;

/** A setting that must not be there may not even be undefined: the engine sees the object as it is. */
function refuseWarning(/** @type {string} */ code, /** @type {string} */ message) {
  assert.fail(`${code}: ${message}`);
}

/**
 * One way to connect, in the words of each family; `expected` comes on top of what every client of
 * that version has. Functions, for the ports are not known before the servers have started.
 *
 * @type {{
 *   name: string,
 *   skip?: string | false,
 *   connects?: (version: import("./versions").Version) => boolean,
 *   nodeRedis?: () => any,
 *   ioredis?: () => any,
 *   expected: () => object,
 *   who?: { user?: string, db?: string, name?: string },
 * }[]}
 */
const WAYS = [
  {
    name: "host and port",
    nodeRedis: () => ({ socket: { host, port: open.port } }),
    ioredis: () => ({ host, port: open.port }),
    expected: () => ({ host, port: open.port }),
    who: { user: "default", db: "0", name: "" },
  },
  {
    name: "a URL",
    nodeRedis: () => ({ url: `redis://${userInfo}@${host}:${secured.port}/3` }),
    ioredis: () => `redis://${userInfo}@${host}:${secured.port}/3`,
    expected: () => ({
      host,
      port: secured.port,
      username: ACL_USER,
      password: ACL_PASSWORD,
      database: 3,
    }),
    who: { user: ACL_USER, db: "3" },
  },
  {
    name: "a password",
    nodeRedis: () => ({ socket: { host, port: secured.port }, password: PASSWORD }),
    ioredis: () => ({ host, port: secured.port, password: PASSWORD }),
    expected: () => ({ host, port: secured.port, password: PASSWORD }),
    who: { user: "default" },
  },
  {
    name: "an ACL user, a database and a name",
    nodeRedis: () => ({
      socket: { host, port: secured.port },
      username: ACL_USER,
      password: ACL_PASSWORD,
      database: 5,
      name: "chat-1",
    }),
    ioredis: () => ({
      host,
      port: secured.port,
      username: ACL_USER,
      password: ACL_PASSWORD,
      db: 5,
      connectionName: "chat-1",
    }),
    expected: () => ({
      host,
      port: secured.port,
      username: ACL_USER,
      password: ACL_PASSWORD,
      database: 5,
      clientName: "chat-1",
    }),
    who: { user: ACL_USER, db: "5", name: "chat-1" },
  },
  {
    name: "a unix socket",
    nodeRedis: () => ({ socket: { path: secured.socketPath }, password: PASSWORD, database: 2 }),
    ioredis: () => ({ path: secured.socketPath, password: PASSWORD, db: 2 }),
    expected: () => ({ path: secured.socketPath, password: PASSWORD, database: 2 }),
    who: { user: "default", db: "2" },
  },
  {
    name: "an IPv6 address",
    skip: !hasIpv6Loopback && "this machine has no ::1",
    nodeRedis: () => ({ socket: { host: "::1", port: open.port } }),
    ioredis: () => ({ host: "::1", port: open.port }),
    expected: () => ({ host: "::1", port: open.port }),
  },
  {
    name: "a URL with an IPv6 address",
    skip: !hasIpv6Loopback && "this machine has no ::1",
    // node-redis 4 and 6 look "[::1]" up as a host name, and never connect
    connects: (version) => !["redis-4", "redis"].includes(version.name),
    nodeRedis: () => ({ url: `redis://[::1]:${open.port}` }),
    ioredis: () => `redis://[::1]:${open.port}`,
    expected: () => ({ host: "::1", port: open.port }),
  },
  {
    name: "TLS with the authority's certificate",
    nodeRedis: () => ({
      socket: {
        host,
        port: open.tlsPort,
        tls: true,
        ca: certificates.ca,
        servername: SERVER_NAME,
      },
    }),
    ioredis: () => ({
      host,
      port: open.tlsPort,
      tls: { ca: certificates.ca, servername: SERVER_NAME },
    }),
    expected: () => ({
      host,
      port: open.tlsPort,
      tls: { ca: [certificates.ca], servername: SERVER_NAME, rejectUnauthorized: true },
    }),
  },
  {
    name: "TLS with a client certificate and an encrypted key",
    nodeRedis: () => ({
      url: `rediss://${userInfo}@${host}:${secured.tlsPort}/1`,
      socket: {
        tls: true,
        ca: [Buffer.from(certificates.ca)],
        cert: Buffer.from(certificates.cert),
        key: certificates.encryptedKey,
        passphrase: PASSPHRASE,
        servername: SERVER_NAME,
      },
    }),
    ioredis: () => ({
      host,
      port: secured.tlsPort,
      db: 1,
      username: ACL_USER,
      password: ACL_PASSWORD,
      tls: {
        ca: [Buffer.from(certificates.ca)],
        cert: Buffer.from(certificates.cert),
        key: certificates.encryptedKey,
        passphrase: PASSPHRASE,
        servername: SERVER_NAME,
      },
    }),
    expected: () => ({
      host,
      port: secured.tlsPort,
      username: ACL_USER,
      password: ACL_PASSWORD,
      database: 1,
      tls: {
        ca: [certificates.ca],
        cert: certificates.cert,
        key: certificates.key,
        servername: SERVER_NAME,
        rejectUnauthorized: true,
      },
    }),
    who: { user: ACL_USER, db: "1" },
  },
  {
    name: "TLS without verification",
    nodeRedis: () => ({
      socket: {
        host,
        port: open.tlsPort,
        tls: true,
        ca: certificates.ca,
        rejectUnauthorized: false,
      },
    }),
    ioredis: () => ({
      host,
      port: open.tlsPort,
      tls: { ca: certificates.ca, rejectUnauthorized: false },
    }),
    expected: () => ({
      host,
      port: open.tlsPort,
      tls: { ca: [certificates.ca], rejectUnauthorized: false },
    }),
  },
  {
    name: "a host that is only in the TLS options",
    ioredis: () => ({
      tls: { host, port: open.tlsPort, ca: certificates.ca, servername: SERVER_NAME },
    }),
    expected: () => ({
      host,
      port: open.tlsPort,
      tls: { ca: [certificates.ca], servername: SERVER_NAME, rejectUnauthorized: true },
    }),
  },
];

for (const version of VERSIONS) {
  describe(`${version.name}: the engine reaches what the client reaches`, () => {
    for (const way of WAYS) {
      const options = version.family === "node-redis" ? way.nodeRedis : way.ioredis;
      if (options === undefined) {
        continue;
      }
      test(way.name, { skip: way.skip }, async (t) => {
        const expected = { kind: "standalone", ...version.ownTimeout, ...way.expected() };
        const client = version.create(options());
        t.after(() => disconnect(client));

        const settings = connectionSettings(client, { warn: refuseWarning });
        assert.deepEqual(settings, expected, "before connecting");
        const probe = await openProbe(settings);
        t.after(() => probe.close());
        if (way.connects?.(version) === false) {
          return;
        }

        await within(client.connect(), "the client to connect");
        assert.deepEqual(
          connectionSettings(client, { warn: refuseWarning }),
          expected,
          "after connecting",
        );
        const clients = whereAndWho(await call(client, "CLIENT", "INFO"));
        assert.deepEqual(whereAndWho(await probe.call("CLIENT", "INFO")), clients);
        for (const [field, value] of Object.entries(way.who ?? {})) {
          assert.equal(clients[/** @type {keyof typeof clients} */ (field)], value, field);
        }
      });
    }

    for (const RESP of version.family === "node-redis" ? [undefined, 3] : [undefined]) {
      const protocol = RESP === undefined ? "" : ` (RESP ${RESP})`;
      test(`a user name without a password is used as the client uses it${protocol}`, async (t) => {
        const where = { host, port: open.port };
        const client = version.create({
          ...(version.family === "node-redis" ? { socket: where } : { ...where, password: "" }),
          username: NOPASS_USER,
          ...(RESP && { RESP }),
        });
        t.after(() => disconnect(client));
        const settings = connectionSettings(client, { warn: refuseWarning });
        await within(client.connect(), "the client to connect");
        const probe = await openProbe(settings);
        t.after(() => probe.close());
        assert.equal(
          whereAndWho(await probe.call("CLIENT", "INFO")).user,
          whereAndWho(await call(client, "CLIENT", "INFO")).user,
        );
      });
    }

    test("a host name goes with the client's address family", (t) => {
      const options = { host: "redis.test", port: 1234 };
      const client = version.create(
        version.family === "node-redis" ? { socket: { ...options, family: 6 } } : options,
      );
      t.after(() => disconnect(client));
      // iovalkey uses IPv4 only, unless it is told otherwise
      const families = { "node-redis": { family: 6 }, ioredis: {} };
      const family = version.name === "iovalkey" ? { family: 4 } : families[version.family];
      assert.deepEqual(connectionSettings(client, { warn: refuseWarning }), {
        kind: "standalone",
        ...version.ownTimeout,
        ...options,
        ...family,
      });
    });

    test("without any options it is localhost:6379", (t) => {
      const client = version.create(version.family === "node-redis" ? undefined : {});
      t.after(() => disconnect(client));
      const { host, port, path, tls } = connectionSettings(client, { warn: refuseWarning });
      assert.deepEqual(
        { host, port, path, tls },
        {
          host: "localhost",
          port: 6379,
          path: undefined,
          tls: undefined,
        },
      );
    });

    test("a key prefix is the one that the client uses", async (t) => {
      const where =
        version.family === "node-redis"
          ? { socket: { host, port: open.port } }
          : { host, port: open.port };
      const client = version.create({ ...where, keyPrefix: "app:" });
      t.after(() => disconnect(client));
      const settings = connectionSettings(client, { warn: refuseWarning });
      await within(client.connect(), "the client to connect");
      const probe = await openProbe(settings);
      t.after(() => probe.close());
      await probe.call("FLUSHALL");

      await within(client.set("key", version.name), "the client to set a key");
      assert.equal(await probe.call("GET", `${settings.keyPrefix ?? ""}key`), version.name);
      // node-redis 4 and 5 take the option without using it
      const usesPrefix = version.family === "ioredis" || version.name === "redis";
      assert.equal(settings.keyPrefix, usesPrefix ? "app:" : undefined);
      assert.equal("keyPrefix" in settings, usesPrefix);
    });

    test("a key prefix goes before sharded channels where the client does that", async (t) => {
      const where =
        version.family === "node-redis"
          ? { socket: { host, port: open.port } }
          : { host, port: open.port };
      const client = version.create({ ...where, keyPrefix: "app:" });
      t.after(() => disconnect(client));
      const settings = connectionSettings(client, { warn: refuseWarning });
      await within(client.connect(), "the client to connect");
      const probe = await openProbe(settings);
      t.after(() => probe.close());

      const channel = `channel of ${version.name}`;
      await within(
        version.family === "node-redis"
          ? client.sSubscribe(channel, () => {})
          : client.ssubscribe(channel),
        "the client to subscribe",
      );
      const prefix = settings.prefixShardedChannels ? settings.keyPrefix : "";
      const channels = await probe.call("PUBSUB", "SHARDCHANNELS", `*${channel}`);
      assert.deepEqual(channels, [`${prefix}${channel}`]);
    });
  });
}

describe("without a client the engine gets in with", () => {
  /** @type {{ name: string, input: () => any, expected: () => object }[]} */
  const inputs = [
    {
      name: "a redis:// URL",
      input: () => `redis://${userInfo}@${host}:${secured.port}/4`,
      expected: () => ({
        host,
        port: secured.port,
        username: ACL_USER,
        password: ACL_PASSWORD,
        database: 4,
      }),
    },
    {
      name: "a URL object",
      input: () => new URL(`redis://:${encodeURIComponent(PASSWORD)}@${host}:${secured.port}`),
      expected: () => ({ host, port: secured.port, password: PASSWORD }),
    },
    {
      name: "a unix:// URL",
      input: () => `unix://${userInfo}@${encodeURI(secured.socketPath)}?db=6`,
      expected: () => ({
        path: secured.socketPath,
        username: ACL_USER,
        password: ACL_PASSWORD,
        database: 6,
      }),
    },
    {
      name: "a redis+unix:// URL",
      input: () => `redis+unix://${open.socketPath}`,
      expected: () => ({ path: open.socketPath }),
    },
    {
      name: "a settings object",
      input: () => ({
        host,
        port: secured.port,
        username: ACL_USER,
        password: ACL_PASSWORD,
        db: 7,
        clientName: "chat-2",
        connectTimeout: 1_000,
        family: 4,
      }),
      expected: () => ({
        host,
        port: secured.port,
        username: ACL_USER,
        password: ACL_PASSWORD,
        database: 7,
        clientName: "chat-2",
        connectTimeout: 1_000,
      }),
    },
    {
      name: "a settings object with a rediss:// URL and a client certificate",
      input: () => ({
        url: `rediss://${host}:${secured.tlsPort}/8`,
        password: PASSWORD,
        tls: {
          ca: certificates.ca,
          cert: certificates.cert,
          key: certificates.sec1Key,
          servername: SERVER_NAME,
        },
      }),
      expected: () => ({
        host,
        port: secured.tlsPort,
        password: PASSWORD,
        database: 8,
        tls: {
          ca: [certificates.ca],
          cert: certificates.cert,
          key: certificates.key,
          servername: SERVER_NAME,
          rejectUnauthorized: true,
        },
      }),
    },
  ];
  for (const { name, input, expected } of inputs) {
    test(name, async (t) => {
      const settings = connectionSettings(input(), { warn: refuseWarning });
      const wanted = /** @type {import("../../lib/connection").ConnectionSettings} */ ({
        kind: "standalone",
        ...expected(),
      });
      assert.deepEqual(settings, wanted);
      const probe = await openProbe(settings);
      t.after(() => probe.close());
      const { laddr, user, db } = whereAndWho(await probe.call("CLIENT", "INFO"));
      assert.deepEqual(
        { laddr, user, db },
        {
          laddr: wanted.path === undefined ? `${host}:${wanted.port}` : `${wanted.path}:0`,
          user: wanted.username ?? "default",
          db: String(wanted.database ?? 0),
        },
      );
    });
  }
});

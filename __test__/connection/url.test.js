// What URLs say, and that a wrong one is refused without giving its secrets away.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { inspect } = require("node:util");

const { connectionSettings } = require("../../lib/connection");

/** @param {unknown} input */
function settingsOf(input) {
  return connectionSettings(input, { warn: () => assert.fail("nothing to warn of") });
}

describe("a URL gives the settings that clients read from it", () => {
  const local = { kind: "standalone", host: "localhost", port: 6379 };

  /** @type {[string, object][]} */
  const urls = [
    ["redis://localhost", local],
    ["redis://", local],
    ["redis:///", local],
    ["REDIS://localhost", local],
    ["redis://localhost/0", local],
    ["redis://localhost:7000/12", { ...local, port: 7000, database: 12 }],
    ["redis://localhost?db=3", { ...local, database: 3 }],
    ["redis://:pw@localhost", { ...local, password: "pw" }],
    ["redis://ann@localhost", { ...local, username: "ann", password: "" }],
    ["redis://ann:pw@localhost", { ...local, username: "ann", password: "pw" }],
    [
      "redis://a%40b:%3A%2F%3F%23%25%20%C3%A9@localhost",
      { ...local, username: "a@b", password: ":/?#% é" },
    ],
    ["redis://:é@localhost", { ...local, password: "é" }],
    ["redis://[::1]:7000", { ...local, host: "::1", port: 7000 }],
    ["valkey://localhost", local],
    ["unix:///tmp/redis.sock", { kind: "standalone", path: "/tmp/redis.sock" }],
    [
      "unix://ann:p%40w@/tmp/a%20b.sock?db=4",
      {
        kind: "standalone",
        path: "/tmp/a b.sock",
        username: "ann",
        password: "p@w",
        database: 4,
      },
    ],
    ["redis+unix:///tmp/redis.sock", { kind: "standalone", path: "/tmp/redis.sock" }],
  ];
  for (const [url, expected] of urls) {
    test(url, () => {
      assert.deepEqual(settingsOf(url), expected);
      assert.deepEqual(settingsOf({ url }), expected);
    });
    if (URL.canParse(url)) {
      test(`${url} as an object`, () => {
        assert.deepEqual(settingsOf(new URL(url)), expected);
        assert.deepEqual(settingsOf({ url: new URL(url) }), expected);
      });
    }
  }

  for (const url of ["rediss://example.com", "valkeys://example.com"]) {
    test(`${url} means TLS with the roots that Node trusts`, () => {
      const { tls, ...rest } = settingsOf(url);
      assert.deepEqual(rest, { kind: "standalone", host: "example.com", port: 6379 });
      assert.equal(tls?.rejectUnauthorized, true);
      assert.deepEqual(Object.keys(tls ?? {}).sort(), ["ca", "rejectUnauthorized"]);
      for (const root of require("node:tls").rootCertificates) {
        assert.ok(tls?.ca.includes(root));
      }
    });
  }
});

describe("a wrong URL is refused and not shown", () => {
  const SECRET = "hunter2";

  /** @type {[string, RegExp][]} */
  const urls = [
    ["", /must be redis:\/\//],
    [`${SECRET}`, /must be redis:\/\//],
    [`localhost:6379`, /must be redis:\/\//],
    [`${SECRET}:6379`, /must be redis:\/\//],
    [`/tmp/${SECRET}.sock`, /must be redis:\/\//],
    [`http://:${SECRET}@localhost`, /must be redis:\/\//],
    [`redis://:${SECRET}@localhost:port`, /must be redis:\/\//],
    [`redis://:${SECRET}@localhost:0`, /`port` must be an integer from 1 to 65535/],
    [`redis://:a/${SECRET}@localhost`, /must be redis:\/\//],
    [`redis://ann:12/${SECRET}@localhost`, /database that is no number/],
    [`redis://ann:12#${SECRET}@localhost`, /must not have a fragment/],
    [`redis://ann:12?${SECRET}@localhost`, /query parameter other than `db`/],
    [`redis://:${SECRET}%@localhost`, /no percent-encoding/],
    [`redis://:${SECRET}@localhost/${SECRET}`, /database that is no number/],
    [`redis://:${SECRET}@localhost/-1`, /database that is no number/],
    [`redis://:${SECRET}@localhost/1?db=2`, /names the database twice/],
    [`redis://:${SECRET}@localhost?tls=${SECRET}`, /query parameter other than `db` \(`tls`\):/],
    ["redis://localhost?role=x&db=1&family=0", /`db` \(`family`, `role`\): leave it out/],
    [`redis://localhost?${SECRET}=1&family=0`, /`db` \(`family`\): leave it out/],
    [`unix://tmp/${SECRET}.sock`, /must be redis:\/\//],
    [`unix:///`, /must be redis:\/\//],
    [`unix://:a/${SECRET}@/tmp/redis.sock`, /must be redis:\/\//],
    [`unix:///tmp/redis.sock?${SECRET}=1`, /query parameter other than `db`/],
  ];
  for (const [url, message] of urls) {
    test(url || "an empty string", () => {
      for (const input of [url, { url }]) {
        assert.throws(
          () => settingsOf(input),
          (error) => {
            assert.ok(error instanceof TypeError);
            assert.equal(/** @type {any} */ (error).code, "ERR_SIO_REDIS_SETTING");
            assert.match(error.message, message);
            assert.match(error.message, typeof input === "string" ? /the URL/ : /the settings obj/);
            assert.ok(!inspect(error, { showHidden: true, depth: 9 }).includes(SECRET));
            return true;
          },
        );
      }
    });
  }
});

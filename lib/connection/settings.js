"use strict";
// Settings out of a URL or of a plain object, for users without a Redis client.

const { fromFunction } = require("./credentials.js");
const { settingError } = require("./errors.js");
const { tlsSettings } = require("./tls.js");
const { isUrl, parseUrl } = require("./url.js");
const {
  database,
  definedOnly,
  endpoint,
  integer,
  isMissing,
  keyPrefix,
  login,
  text,
  typeName,
} = require("./values.js");

/** @typedef {import("./errors.js").Context} Context */
/** @typedef {import("./index.js").ConnectionSettings} ConnectionSettings */
/** @typedef {import("./url.js").UrlParts} UrlParts */

/**
 * @typedef {object} PlainSettings
 * @property {string | URL} [url] what else is given here wins over the URL's parts
 * @property {string} [host] localhost when not given
 * @property {number | string} [port] 6379 when not given
 * @property {string} [path] unix socket; wins over host and port
 * @property {0 | 4 | 6} [family] 0, or not given: IPv4 and IPv6
 * @property {string} [username]
 * @property {string} [password]
 * @property {number | string} [database]
 * @property {number | string} [db] the same as database
 * @property {boolean | PlainTls} [tls]
 * @property {string} [clientName] shown by CLIENT LIST
 * @property {number} [connectTimeout] ms
 * @property {string} [keyPrefix] put before the names of streams and sessions
 * @property {() => Credentials | Promise<Credentials>} [credentials] asked at each connect, wins
 *   over username and password
 */
/** @typedef {{ username?: string, password?: string }} Credentials */
/**
 * @typedef {object} PlainTls
 * @property {string | Buffer | (string | Buffer)[]} [ca] PEM; else the roots that Node trusts
 * @property {string | Buffer} [cert] PEM
 * @property {string | Buffer} [key] PEM
 * @property {string} [passphrase] of the key
 * @property {string} [servername]
 * @property {boolean} [rejectUnauthorized]
 */

const KNOWN = [
  "url",
  "host",
  "port",
  "path",
  "family",
  "username",
  "password",
  "database",
  "db",
  "tls",
  "clientName",
  "connectTimeout",
  "keyPrefix",
  "credentials",
];
const STRINGS = /** @type {const} */ ([
  "host",
  "path",
  "username",
  "password",
  "clientName",
  "keyPrefix",
]);
const KNOWN_TLS = ["ca", "cert", "key", "passphrase", "servername", "rejectUnauthorized"];

/**
 * @param {string} url
 * @param {Context} context
 * @returns {ConnectionSettings}
 */
function urlSettings(url, context) {
  return assembled(context, {}, parseUrl(context, "", url));
}

/**
 * @param {object} settings
 * @param {Context} context
 * @returns {ConnectionSettings}
 */
function plainSettings(settings, context) {
  refuseUnknown(context, "", settings, KNOWN);
  const given = /** @type {PlainSettings} */ (
    Object.fromEntries(Object.entries(settings).filter(([, value]) => !isMissing(value)))
  );
  for (const name of STRINGS) {
    mustBe(context, name, given[name], "string");
  }
  mustBe(context, "credentials", given.credentials, "function");
  return assembled(context, given, parsedUrl(context, given.url));
}

/**
 * @param {Context} context
 * @param {PlainSettings} given
 * @param {Partial<UrlParts>} url
 * @returns {ConnectionSettings}
 */
function assembled(context, given, url) {
  const where = endpoint(context, whereTo(given, url));
  return definedOnly({
    kind: "standalone",
    ...where,
    tls: tlsOf(context, given.tls, url, where),
    ...authentication(context, given, url),
    database: database(context, "database", databaseOf(context, given) ?? url.database),
    clientName: text(context, "clientName", given.clientName),
    connectTimeout: integer(context, "connectTimeout", given.connectTimeout, 1, 2 ** 31 - 1),
    keyPrefix: keyPrefix(context, given.keyPrefix),
  });
}

/**
 * @param {Context} context
 * @param {string} at
 * @param {object} object
 * @param {string[]} known
 */
function refuseUnknown(context, at, object, known) {
  const unknown = Object.keys(object).filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw settingError(
      context,
      unknown.map((name) => at + name).join("`, `"),
      `${unknown.length === 1 ? "is no setting" : "are no settings"}: there are ` +
        known.map((name) => at + name).join(", "),
    );
  }
}

/**
 * @param {Context} context
 * @param {string} name
 * @param {unknown} value
 * @param {"string" | "boolean" | "function"} type
 */
function mustBe(context, name, value, type) {
  if (value !== undefined && typeof value !== type) {
    throw settingError(context, name, `must be a ${type}, not ${typeName(value)}`);
  }
}

/**
 * @param {Context} context
 * @param {string | URL | undefined} url
 * @returns {Partial<UrlParts>}
 */
function parsedUrl(context, url) {
  if (url === undefined) {
    return {};
  }
  if (isUrl(url)) {
    return parseUrl(context, "url", url.href);
  }
  mustBe(context, "url", url, "string");
  return parseUrl(context, "url", url);
}

/**
 * @param {PlainSettings} given
 * @param {Partial<UrlParts>} url
 */
function whereTo(given, url) {
  const { host, port, path, family } = given;
  // A host of the user's own replaces the URL's unix socket, which would win over it otherwise.
  const moved = path === undefined && (host !== undefined || port !== undefined);
  return {
    host: host ?? url.host,
    port: port ?? url.port,
    path: moved ? undefined : (path ?? url.path),
    family,
  };
}

/**
 * @param {Context} context
 * @param {PlainSettings["tls"]} tls
 * @param {Partial<UrlParts>} url
 * @param {{ path?: string }} where
 */
function tlsOf(context, tls, url, where) {
  if (tls === false && url.tls === true) {
    throw settingError(context, "tls", "is false, but `url` starts with rediss: say one of them");
  }
  if (typeof tls !== "object") {
    mustBe(context, "tls", tls, "boolean");
  } else {
    refuseUnknown(context, "tls.", tls, KNOWN_TLS);
    mustBe(context, "tls.rejectUnauthorized", tls.rejectUnauthorized, "boolean");
  }
  if (!(tls ?? url.tls)) {
    return undefined;
  }
  if (where.path !== undefined) {
    throw settingError(context, "tls", "cannot be had over a unix socket: leave it out");
  }
  return tlsSettings(context, "tls.", typeof tls === "object" ? tls : {});
}

/**
 * @param {Context} context
 * @param {PlainSettings} given
 * @param {Partial<UrlParts>} url
 */
function authentication(context, given, url) {
  if (given.credentials !== undefined) {
    return { credentials: fromFunction(context, "credentials", given.credentials) };
  }
  return login(context, given.username ?? url.username, given.password ?? url.password);
}

/**
 * @param {Context} context
 * @param {PlainSettings} given
 */
function databaseOf(context, given) {
  if (given.database !== undefined && given.db !== undefined) {
    throw settingError(context, "db", "is the same as `database`: give one of them");
  }
  return given.database ?? given.db;
}

module.exports = { plainSettings, urlSettings };

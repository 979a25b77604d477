"use strict";
// Reads the settings of a URL or of a plain object, for users without a Redis client.

const { fromFunction, fromProvider } = require("./credentials.js");
const { settingError } = require("./errors.js");
const { tlsSettings } = require("./tls.js");
const { addressMap, nodeAt, nodeList, nodeOfUrl, oneTlsForAll, withPort } = require("./several.js");
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
 * @property {string | URL} [url] the other properties override its parts
 * @property {string} [host] absent: localhost
 * @property {number | string} [port] absent: 6379
 * @property {string} [path] unix socket; wins over host and port
 * @property {0 | 4 | 6} [family] 0 or absent: IPv4 and IPv6
 * @property {string} [username]
 * @property {string} [password]
 * @property {number | string} [database]
 * @property {number | string} [db] the same as database
 * @property {boolean | PlainTls} [tls]
 * @property {string} [clientName] shown by CLIENT LIST
 * @property {number} [connectTimeout] ms
 * @property {string} [keyPrefix] of the names of streams and sessions
 * @property {(() => Credentials | Promise<Credentials>) | { type: string }} [credentials] a function
 *   that is called at each connect, or a provider as in node-redis; replaces username and password
 * @property {PlainCluster} [cluster] in place of a server; the other properties apply to all nodes
 * @property {PlainSentinel} [sentinel] in place of a server; the other properties apply to the master
 */
/**
 * @typedef {object} PlainCluster
 * @property {(string | URL | PlainNode)[]} nodes the engine learns the others from them
 * @property {Record<string, PlainNode>} [natMap]
 */
/**
 * @typedef {object} PlainSentinel
 * @property {string} name of the master
 * @property {(string | URL | PlainNode)[]} nodes the sentinels; the default port is 26379
 * @property {string} [username] of the sentinels
 * @property {string} [password]
 * @property {boolean | PlainTls} [tls]
 * @property {Record<string, PlainNode>} [natMap]
 */
/** @typedef {{ host?: string, port?: number | string }} PlainNode */
/** @typedef {{ username?: string, password?: string }} Credentials */
/**
 * @typedef {object} PlainTls
 * @property {string | Buffer | (string | Buffer)[]} [ca] PEM; absent: the roots that Node.js trusts
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
  "cluster",
  "sentinel",
];
/** The properties that give the address of one server. */
const ONE_SERVER = /** @type {const} */ (["url", "host", "port", "path"]);
const KNOWN_CLUSTER = ["nodes", "natMap"];
const KNOWN_SENTINEL = ["name", "nodes", "username", "password", "tls", "natMap"];
const KNOWN_NODE = ["host", "port"];
const SENTINEL_PORT = 26379;
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
  if (given.cluster === undefined && given.sentinel === undefined) {
    return assembled(context, given, parsedUrl(context, given.url));
  }
  return given.cluster === undefined
    ? sentinelSettings(context, given, /** @type {PlainSentinel} */ (given.sentinel))
    : clusterSettings(context, given, given.cluster);
}

/**
 * @param {Context} context
 * @param {PlainSettings} given
 * @param {PlainCluster} cluster
 * @returns {ConnectionSettings}
 */
function clusterSettings(context, given, cluster) {
  const at = "cluster";
  const common = ofEachServer(context, given, at);
  refuseUnknown(context, `${at}.`, cluster, KNOWN_CLUSTER);
  if (common.database !== undefined) {
    throw settingError(context, "database", "is always 0 in a cluster: leave it out");
  }
  return definedOnly({
    ...common,
    kind: "cluster",
    ...nodesOf(context, at, cluster.nodes, common.tls),
    natMap: natMap(context, at, cluster.natMap),
  });
}

/**
 * @param {Context} context
 * @param {PlainSettings} given
 * @param {PlainSentinel} sentinel
 * @returns {ConnectionSettings}
 */
function sentinelSettings(context, given, sentinel) {
  const at = "sentinel";
  const common = ofEachServer(context, given, at);
  refuseUnknown(context, `${at}.`, sentinel, KNOWN_SENTINEL);
  mustBe(context, `${at}.name`, sentinel.name ?? null, "string");
  const tls = tlsOf(context, sentinel.tls, {}, {});
  return definedOnly({
    ...common,
    kind: "sentinel",
    sentinel: definedOnly({
      name: sentinel.name,
      ...nodesOf(context, at, sentinel.nodes, tls, SENTINEL_PORT),
      ...login(context, sentinel.username, sentinel.password),
    }),
    natMap: natMap(context, at, sentinel.natMap),
  });
}

/**
 * The nodes, by URLs or addresses, and the TLS to all of them.
 *
 * @param {Context} context
 * @param {"cluster" | "sentinel"} at
 * @param {unknown} given
 * @param {ConnectionSettings["tls"]} tls that the settings ask for
 * @param {number} [defaultPort]
 */
function nodesOf(context, at, given, tls, defaultPort) {
  const nodes = nodeList(context, `${at}.nodes`, given).map((node) =>
    typeof node === "string" || isUrl(node)
      ? nodeOfUrl(context, `${at}.nodes[]`, String(node), defaultPort)
      : {
          node: plainNode(context, `${at}.nodes[].`, node, defaultPort),
          tls: tls !== undefined,
        },
  );
  const withTls = oneTlsForAll(
    context,
    `${at}.nodes`,
    nodes.map((node) => node.tls),
  );
  return {
    nodes: nodes.map(({ node }) => node),
    tls: withTls ? (tls ?? tlsSettings(context, "tls.", {})) : tls,
  };
}

/**
 * @param {Context} context
 * @param {"cluster" | "sentinel"} at
 * @param {unknown} map
 */
function natMap(context, at, map) {
  return addressMap(context, `${at}.natMap`, map, (to) =>
    plainNode(context, `${at}.natMap[].`, to),
  );
}

/**
 * The settings that all servers share, without their addresses.
 *
 * @param {Context} context
 * @param {PlainSettings} given
 * @param {"cluster" | "sentinel"} at
 */
function ofEachServer(context, given, at) {
  const other = ONE_SERVER.find((name) => given[name] !== undefined);
  if (other !== undefined || (given.cluster !== undefined && given.sentinel !== undefined)) {
    throw settingError(context, other ?? "sentinel", `contradicts \`${at}\`: give one of them`);
  }
  if (typeof given[at] !== "object") {
    throw settingError(context, at, `must be an object, not ${typeName(given[at])}`);
  }
  const { host, port, ...common } = assembled(context, given, {});
  return common;
}

/**
 * @param {Context} context
 * @param {string} at
 * @param {unknown} node
 * @param {number} [defaultPort]
 */
function plainNode(context, at, node, defaultPort) {
  if (typeof node !== "object" || node === null) {
    throw settingError(context, at.slice(0, -1), `must be an object, not ${typeName(node)}`);
  }
  refuseUnknown(context, at, node, KNOWN_NODE);
  return nodeAt(context, withPort(node, defaultPort));
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
  // If the user gives a host, it replaces the URL's unix socket, which would override it otherwise.
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
  const { credentials } = given;
  if (credentials !== undefined) {
    if (typeof credentials === "function") {
      return fromFunction(context, "credentials", credentials);
    }
    if (typeof credentials !== "object" || !("type" in credentials)) {
      throw settingError(
        context,
        "credentials",
        "must be a function, or a credentials provider as node-redis takes it",
      );
    }
    return fromProvider(context, "credentials", credentials);
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

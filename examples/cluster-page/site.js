"use strict";
// The page's files, and who may have them. The page kills processes, so only pages of this cluster,
// in a browser on this machine, get to talk to a node. Programs of this machine may as well.

const { readFile } = require("node:fs/promises");
const { extname, join } = require("node:path");

const PUBLIC = join(__dirname, "public");
const UPLOT = join(require.resolve("uplot"), "..");

/** All that is served, by path: nothing is looked up by what a request says. */
const FILES = new Map([
  ["/", join(PUBLIC, "index.html")],
  ...[
    ...["style.css", "charts.css", "favicon.svg", "page.js", "link.js", "packet-check.js"],
    ...["history.js", "charts.js", "chart.js", "theme.js", "nodes.js", "hurt.js", "chat.js"],
    ...["summary.js", "events.js", "dom.js", "format.js"],
  ].map((name) => /** @type {const} */ ([`/${name}`, join(PUBLIC, name)])),
  ["/vendor/uplot.js", join(UPLOT, "uPlot.esm.js")],
  ["/vendor/uplot.css", join(UPLOT, "uPlot.min.css")],
]);

/** @type {Record<string, string>} */
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};

const LOOPBACK = new Set(["127.0.0.1", "localhost"]);

/**
 * @param {string | undefined} text
 * @returns {URL | undefined}
 */
function parse(text) {
  try {
    return new URL(text ?? "");
  } catch {
    return undefined;
  }
}

class Site {
  #uplink;

  /** @param {import("./uplink").Uplink} uplink */
  constructor(uplink) {
    this.#uplink = uplink;
  }

  /** The nodes' addresses; each of them serves the page. */
  get #addresses() {
    return this.#uplink.cluster.nodes.flatMap(({ address }) => parse(address) ?? []);
  }

  /**
   * False for a page of another site, which may open a WebSocket to anywhere, and for one whose name
   * was made to point to this machine.
   *
   * @param {import("node:http").IncomingMessage} request
   */
  isOurs({ headers }) {
    const host = parse(`http://${headers.host}`);
    if (!host || !LOOPBACK.has(host.hostname)) {
      return false;
    }
    if (headers.origin === undefined) {
      return true; // no browser, or the page's own request for a file
    }
    const origin = parse(headers.origin);
    return (
      origin?.protocol === "http:" &&
      LOOPBACK.has(origin.hostname) &&
      (origin.host === host.host || this.#addresses.some(({ port }) => port === origin.port))
    );
  }

  /** @returns {Record<string, string>} */
  get #headers() {
    const nodes = this.#addresses.map(({ host }) => `ws://${host}`);
    return {
      "Content-Security-Policy": [
        "default-src 'none'",
        ...["script-src", "style-src", "img-src"].map((kind) => `${kind} 'self'`),
        ["connect-src 'self'", ...nodes].join(" "),
        ...["base-uri", "form-action", "frame-ancestors"].map((kind) => `${kind} 'none'`),
      ].join("; "),
      "Cross-Origin-Resource-Policy": "same-origin",
      "X-Content-Type-Options": "nosniff",
      "Referrer-Policy": "no-referrer",
      "Cache-Control": "no-cache",
    };
  }

  /**
   * @param {import("node:http").IncomingMessage} request
   * @param {import("node:http").ServerResponse} response
   */
  async serve(request, response) {
    if (!this.isOurs(request)) {
      response.writeHead(403).end();
      return;
    }
    const file = FILES.get(request.url?.split("?")[0] ?? "");
    if (!file || request.method !== "GET") {
      response.writeHead(404).end();
      return;
    }
    try {
      const content = await readFile(file);
      response.writeHead(200, { ...this.#headers, "Content-Type": TYPES[extname(file)] });
      response.end(content);
    } catch (error) {
      console.error(error);
      response.writeHead(500).end();
    }
  }
}

module.exports = { Site };

// A connection that is made from connection settings alone, as the engine makes its own, to show
// that the settings lead to the same place with the same rights as the user's client.

"use strict";

const net = require("node:net");
const tls = require("node:tls");

const { once, within } = require("../helpers/wait");

/**
 * Reads one RESP2 reply.
 *
 * @param {string} text
 * @param {number} at
 * @returns {{ value: any, next: number } | undefined} undefined when it is not complete
 */
function parseReply(text, at) {
  const end = text.indexOf("\r\n", at);
  if (end === -1) {
    return undefined;
  }
  const line = text.slice(at + 1, end);
  let next = end + 2;
  switch (text[at]) {
    case "+":
      return { value: line, next };
    case "-":
      return { value: new Error(line), next };
    case ":":
      return { value: Number(line), next };
    case "$": {
      const length = Number(line);
      if (length === -1) {
        return { value: null, next };
      }
      const complete = text.length >= next + length + 2;
      return complete
        ? { value: text.slice(next, next + length), next: next + length + 2 }
        : undefined;
    }
    case "*": {
      const items = [];
      for (let i = 0; i < Number(line); i++) {
        const item = parseReply(text, next);
        if (item === undefined) {
          return undefined;
        }
        items.push(item.value);
        next = item.next;
      }
      return { value: items, next };
    }
    default:
      throw new Error(`no RESP2: ${text.slice(at, at + 50)}`);
  }
}

class Probe {
  /** @param {import("node:net").Socket} socket */
  constructor(socket) {
    this.socket = socket.setEncoding("latin1");
  }

  /**
   * @param {...string} args
   * @returns {Promise<any>}
   */
  call(...args) {
    const reply = new Promise((resolve, reject) => {
      let received = "";
      const done = () => this.socket.off("data", onData).off("error", reject).off("close", onClose);
      const onClose = () => reject(new Error("the server closed the connection"));
      /** @param {string} data */
      const onData = (data) => {
        received += data;
        const parsed = parseReply(received, 0);
        if (parsed !== undefined) {
          done();
          parsed.value instanceof Error ? reject(parsed.value) : resolve(parsed.value);
        }
      };
      this.socket.on("data", onData).on("error", reject).on("close", onClose);
    });
    const parts = args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`);
    this.socket.write(`*${args.length}\r\n${parts.join("")}`);
    return within(reply, `a reply to ${args[0]}`);
  }

  close() {
    this.socket.destroy();
  }
}

/**
 * @param {import("../../lib/connection").ConnectionSettings} settings
 * @returns {Promise<Probe>}
 */
async function openProbe(settings) {
  const { host, port, path, family, tls: tlsSettings, database, clientName } = settings;
  const where = /** @type {any} */ (path === undefined ? { host, port, family } : { path });
  const socket =
    tlsSettings === undefined ? net.connect(where) : tls.connect({ ...where, ...tlsSettings });
  await once(socket, tlsSettings === undefined ? "connect" : "secureConnect");

  const probe = new Probe(socket);
  try {
    const { username, password } = settings.credentials ? await settings.credentials() : settings;
    if (password !== undefined) {
      await probe.call("AUTH", ...(username === undefined ? [] : [username]), password);
    }
    if (database !== undefined) {
      await probe.call("SELECT", String(database));
    }
    if (clientName !== undefined) {
      await probe.call("CLIENT", "SETNAME", clientName);
    }
  } catch (error) {
    probe.close();
    throw error;
  }
  return probe;
}

/**
 * @param {string} info the reply of CLIENT INFO
 * @returns {{ laddr: string, user: string, db: string, name: string }} where a connection is and as who
 */
function whereAndWho(info) {
  const fields = Object.fromEntries(
    info
      .trim()
      .split(" ")
      .map((field) => /** @type {[string, string]} */ (field.split(/=(.*)/s).slice(0, 2))),
  );
  const { laddr, user, db, name } = fields;
  return { laddr, user, db, name };
}

module.exports = { openProbe, whereAndWho };

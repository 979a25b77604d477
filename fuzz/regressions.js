// Writes fuzz/regressions/: inputs that a decoder once got wrong, or that fuzzers take long to come
// to. `cargo test` runs them; they are never minimized away.
//
//     node fuzz/regressions.js

"use strict";

const { mkdirSync, rmSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");

const { main } = require("../scripts/run");

const folder = join(__dirname, "regressions");
/** As in `src/fuzzing/mod.rs`. */
const BETWEEN_STRINGS = "\x1f";
const BETWEEN_ENTRIES = "\x1e";

const UID = "0123456789abcdef";
const LARGEST = "18446744073709551615";

const OPTS = '"opts":{"rooms":["r"],"except":["x"]}';
const PACKET = '"packet":{"type":2,"data":["e",1],"nsp":"/"}';

/** @param {string} value @param {number} levels */
const nested = (value, levels) => "[".repeat(levels) + value + "]".repeat(levels);

/** Broadcasts in JSON. @type {Record<string, string>} */
const JSON_BROADCASTS = {
  "request-id-null": `{${OPTS},${PACKET},"requestId":null}`,
  "packet-id-null": `{${OPTS},"packet":{"type":2,"data":["e"],"id":null}}`,
  "volatile-false": `{"opts":{"rooms":["r"],"except":[],"flags":{"volatile":false}},${PACKET}}`,
  "volatile-null": `{"opts":{"rooms":["r"],"except":[],"flags":{"volatile":null}},${PACKET}}`,
  "flags-array": `{"opts":{"rooms":["r"],"except":[],"flags":[true]},${PACKET}}`,
  "structs-as-arrays": '{"opts":[["r"],[]],"packet":[2,null,["e"]]}',
  "odd-rooms": `{"opts":{"rooms":[5,[5],null,{"a":1},true,-0,1e999],"except":[]},${PACKET}}`,
  "doubled-key": `{"opts":{"rooms":["q"],"rooms":["r"],"except":[]},${PACKET}}`,
  "lone-surrogate": `{"opts":{"rooms":["\\ud800"],"except":[]},${PACKET}}`,
  "deep-data": `{${OPTS},"packet":{"type":2,"data":${nested("", 200)}}}`,
  "deep-room": `{"opts":{"rooms":${nested("", 200)},"except":[]},${PACKET}}`,
};

/**
 * A broadcast in msgpack.
 *
 * @param {string} rooms
 * @param {{ except?: string, argument?: string, field?: string }} [parts] as latin1
 */
function msgpack(rooms, { except = "\x90", argument = "\x01", field = "\xa1z\x01" } = {}) {
  const opts = `\xa4opts\x82\xa5rooms${rooms}\xa6except${except}`;
  const packet = `\xa6packet\x82\xa4type\x02\xa4data\x92\xa1e${argument}`;
  return Buffer.from(`\x83${opts}${packet}${field}`, "latin1");
}

/** Broadcasts in msgpack. @type {Record<string, Buffer>} */
const MSGPACK_BROADCASTS = {
  "number-for-a-field": msgpack("\x91\xa1r", { field: "\x02\x01" }),
  "bytes-for-an-excepted-room": msgpack("\x91\xa1r", { except: "\x91\xc4\x01r" }),
  "bytes-for-rooms": msgpack("\xc4\x00"),
  "room-not-utf-8": msgpack("\x91\xa1\xff"),
  "room-nan": msgpack("\x91\xcb\x7f\xf8\0\0\0\0\0\0"),
  "extension-in-data": msgpack("\x91\xa1r", { argument: "\xd5\x01\0\0" }),
  "binary-beside-the-packet": msgpack("\x91\xa1r", { field: "\xa1z\xc4\x01\x05" }),
  "as-deep-as-nodes-write": msgpack("\x91\xa1r", { argument: "\x91".repeat(85) + "\x01" }),
  "deeper-than-nodes-write": msgpack("\x91\xa1r", { argument: "\x91".repeat(97) + "\x01" }),
  "stack-overflow-data": msgpack("\x91\xa1r", { argument: "\x91".repeat(1_100) + "\x01" }),
  "stack-overflow-room": msgpack("\x91".repeat(1_100) + "\x01"),
};

/** Entries of writers that have lost more than can be counted. */
const gaps = ["AAAAAAAAAAE", "AAAAAAAAAAI"].flatMap((writer) =>
  ["1", LARGEST].map((seq) => [
    "uid",
    "u",
    "nsp",
    "/",
    "type",
    "4",
    "origin",
    `1:${writer}:${seq}`,
  ]),
);

/** @param {string} data */
const entry = (data) => ["uid", "u", "nsp", "/n", "type", "3", "data", data].join(BETWEEN_STRINGS);

/** @type {Record<string, Record<string, string | Buffer>>} */
const INPUTS = {
  broadcast: { ...JSON_BROADCASTS, ...MSGPACK_BROADCASTS },
  entry_id: {
    "the-last": `${LARGEST}-${LARGEST} 0-0`,
    "too-large": `${LARGEST}-0 00018446744073709551616-0`,
  },
  member: {
    "bye-and-more": `{"uid":"${UID}","news":"bye","more":[1]}`,
    "news-as-object": `{"uid":"${UID}","news":{"hello":null}}`,
    "struct-as-array": `["${UID}","hello"]`,
    "uid-number": '{"uid":5,"news":"alive"}',
  },
  message: {
    "position-in-bytes": Buffer.from("\x81\xa3pos\xc4\x031-1", "latin1"),
    "number-for-a-field": Buffer.from("\x82\xa3uid\xa1a\x00\xa31-1", "latin1"),
  },
  msgpack: {
    "lists-longer-than-what-is-left": Buffer.from("\xdd\x01\xff\xff\0".repeat(8), "latin1"),
    "maps-longer-than-what-is-left": Buffer.from("\xdf\x01\xff\xff\0".repeat(8), "latin1"),
    "lists-that-share-what-is-left": Buffer.from("\xdc\0\x0a".repeat(10) + "\xc0", "latin1"),
    "extension-of-nearly-all-memory": Buffer.from("\xc9\xff\xff\xff\xff\x05", "latin1"),
    "as-deep-as-is-taken": Buffer.from("\x91".repeat(16_384) + "\xc0", "latin1"),
    deeper: Buffer.from("\x91".repeat(16_385) + "\xc0", "latin1"),
  },
  page: {
    deep: `${"*1\r\n".repeat(150)}:1\r\n`,
    "more-entries-than-memory": "*1\r\n*2\r\n$1\r\nk\r\n*999999999999\r\n",
    "no-length": "$99999999999999999999\r\n",
    "error-between": "*-1\r\n-ERR no\r\n*-1\r\n",
  },
  reader: {
    "more-lost-than-can-be-counted": gaps
      .map((fields) => fields.join(BETWEEN_STRINGS))
      .join(BETWEEN_ENTRIES),
    ...Object.fromEntries(
      Object.entries(JSON_BROADCASTS).map(([name, data]) => [name, entry(data)]),
    ),
  },
  transaction: {
    executed: "\x02\0\0\0\0\0\0\x031-1\0\x031-2\0\x031-3",
    "one-of-them-refused": "\x02\0\0\0\0\0\0\x031-1\x03\x01\0\x031-3",
    "no-multi": "\x01\x03\0\0\x031-1\0\x031-2",
    alone: "\0\0\x031-1",
    "not-queued": "\x01\0\x03\x01\0\0",
    "exec-nil": "\x01\0\0\0\x03",
    "exec-refused": "\x01\0\0\0\x02\x03",
  },
  replies: {
    deep: `${"*1\r\n".repeat(150)}:1\r\n`,
    slots:
      "*2\r\n*4\r\n:0\r\n:8191\r\n*3\r\n$1\r\na\r\n:1\r\n$2\r\nid\r\n*3\r\n$-1\r\n:2\r\n$2\r\nid\r\n" +
      "*3\r\n:8192\r\n:16383\r\n*3\r\n$0\r\n\r\n:3\r\n$2\r\nid\r\n",
  },
  session: {
    "bytes-for-a-room": Buffer.from("\x81\xa5rooms\x92\xa1s\xc4\x01r", "latin1"),
    "bytes-for-rooms": Buffer.from("\x81\xa5rooms\xc4\x00", "latin1"),
    "struct-as-array": Buffer.from("\x92\xa1s\x91\xa1r", "latin1"),
    "number-for-a-field": Buffer.from("\x82\xa5rooms\x91\xa1s\x00\xa1s", "latin1"),
  },
};

main({}, () => {
  rmSync(folder, { recursive: true, force: true });
  for (const [target, inputs] of Object.entries(INPUTS)) {
    mkdirSync(join(folder, target), { recursive: true });
    for (const [name, input] of Object.entries(inputs)) {
      writeFileSync(join(folder, target, name), input);
    }
  }
});

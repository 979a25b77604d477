// Whether two clients received the same bytes, and where not.

"use strict";

const assert = require("node:assert/strict");

/** @typedef {import("./raw-client").Message} Message */

const CONTEXT = 60;
/** The last element of an event's data: the in-memory adapter's offset, and an entry's ID. */
const ANY_OFFSET = /"[\w.-]+"\]$/;
const ENTRY_ID = /"\d+-\d+"\]$/;

/**
 * @param {Message[][]} packets
 * @param {RegExp} offset
 */
function withoutOffsets(packets, offset) {
  return packets.map(([message, ...attachments]) => {
    const text = message.bytes.toString("latin1");
    assert.match(text.slice(-CONTEXT), offset, "the offset comes last");
    return [{ ...message, bytes: Buffer.from(text.replace(offset, ""), "latin1") }, ...attachments];
  });
}

/**
 * @param {Message[][]} actual
 * @param {Message[][]} expected
 * @param {{ offsets?: boolean, what: string }} options
 */
function assertSameBytes(actual, expected, { offsets = false, what }) {
  if (offsets) {
    actual = withoutOffsets(actual, ENTRY_ID);
    expected = withoutOffsets(expected, ANY_OFFSET);
  }
  const [mine, theirs] = [actual.flat(), expected.flat()];
  for (let i = 0; i < Math.max(mine.length, theirs.length); i++) {
    const [a, b] = [mine[i], theirs[i]];
    if (!a || !b || a.binary !== b.binary || a.how !== b.how || !a.bytes.equals(b.bytes)) {
      const at = a && b ? firstDifference(a.bytes, b.bytes) : 0;
      assert.fail(
        `${what}: message ${i} of ${mine.length} (stock: ${theirs.length}) is not the same, ` +
          `at byte ${at}\n  ours:  ${show(a, at)}\n  stock: ${show(b, at)}`,
      );
    }
  }
}

/** @param {Buffer} a @param {Buffer} b */
function firstDifference(a, b) {
  let at = 0;
  while (at < a.length && a[at] === b[at]) {
    at++;
  }
  return at;
}

/** @param {Message | undefined} message @param {number} at */
function show(message, at) {
  if (!message) {
    return "nothing";
  }
  const { binary, bytes, how } = message;
  const part = bytes.subarray(Math.max(0, at - CONTEXT), at + CONTEXT);
  const content = binary ? part.toString("hex") : part.toString();
  return `${binary ? "binary" : "text"} ${how} (${bytes.length} bytes) …${content}…`;
}

module.exports = { assertSameBytes };

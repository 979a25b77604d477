// Requests that wait for nodes of which it is asked again and again whether they are still there, by
// counts that take their time: the state machine alone, without a server.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { PendingRequests } = require("../lib/pending-requests");

/** What a node answers when it has said how many clients it asks, and they have not answered yet. */
const NOT_ALL = "not all";
const ALL = "all";

/** @typedef {import("../lib/native-binding").NativeSubscriberCount} Count */

/** Requests whose counts are given by hand. */
function start() {
  /** @type {{ asked: string[], resolve: (count: Count) => void }[]} */
  const counts = [];
  const requests = new PendingRequests(
    (asked) => new Promise((resolve) => counts.push({ asked, resolve })),
  );
  /** @type {(string | undefined)[]} who went, and at the end "complete" */
  const seen = [];
  requests.open("id", {
    begin() {},
    accept: (_uid, response) => response === ALL,
    leave: (uid) => seen.push(uid),
    complete() {
      seen.push("complete");
      requests.close("id");
    },
  });
  /** Gives the oldest open count. @param {Partial<Count>} count */
  const give = async (count) => {
    counts.shift()?.resolve({ known: [], others: 0, present: [], ...count });
    await new Promise(setImmediate);
  };
  return { requests, counts, seen, give };
}

describe("an upstream node, which is not known before it answers", () => {
  // Breaks when a count is held against who it was not asked about: the node would be taken for
  // gone, and the clients that it had just asked would not be waited for.
  test("is not gone when its first answer overtakes a count", async () => {
    const { requests, counts, seen, give } = start();
    await give({ others: 1 });
    const refreshed = requests.refresh();
    assert.deepEqual(counts[0].asked, [], "nobody has answered when it is counted");
    requests.answer("id", "upstream", NOT_ALL);
    await give({ others: 1 });
    await refreshed;
    assert.deepEqual(seen, []);
    requests.answer("id", "upstream", ALL);
    assert.deepEqual(seen, ["complete"]);
  });

  test("nor is another one whose place is still free then", async () => {
    const { requests, seen, give } = start();
    await give({ others: 2 });
    const refreshed = requests.refresh();
    requests.answer("id", "first", NOT_ALL);
    await give({ others: 2 });
    await refreshed;
    requests.answer("id", "first", ALL);
    assert.deepEqual(seen, []);
    requests.answer("id", "second", ALL);
    assert.deepEqual(seen, ["complete"]);
  });

  test("is gone when a count that asks for it does not find it", async () => {
    const { requests, counts, seen, give } = start();
    await give({ others: 1 });
    requests.answer("id", "upstream", NOT_ALL);
    const refreshed = requests.refresh();
    assert.deepEqual(counts[0].asked, ["upstream"]);
    await give({ others: 0, present: [false] });
    await refreshed;
    assert.deepEqual(seen, ["upstream", "complete"]);
  });

  test("is gone when fewer listen than have not answered", async () => {
    const { requests, seen, give } = start();
    await give({ others: 1 });
    const refreshed = requests.refresh();
    await give({ others: 0 });
    await refreshed;
    assert.deepEqual(seen, [undefined, "complete"]);
  });
});

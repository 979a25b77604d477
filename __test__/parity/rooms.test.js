// socketsJoin and socketsLeave, from each node of the cluster.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { adapters, useCluster } = require("../helpers/cluster");
const { assertReceivers, flushed } = require("../helpers/delivery");
const { lastEntryId, messagesAfter, streamOf } = require("../helpers/wire");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const NODES = [0, 1, 2];

const context = useCluster({ clientsPerNode: 2 });

let rooms = 0;
function newRoom() {
  return `room-${rooms++}`;
}

/**
 * Asserts that of all sockets exactly those of `members` are in the room.
 *
 * @param {string} room
 * @param {SocketClient[]} members
 */
function assertMembers(room, members) {
  const { cluster } = context;
  const actual = cluster.clients.filter((client) => cluster.serverSocket(client).rooms.has(room));
  assert.deepEqual(
    actual.map((client) => cluster.clients.indexOf(client)),
    members.map((client) => cluster.clients.indexOf(client)),
    `the members of ${room}`,
  );
  for (const node of NODES) {
    const ids = members.filter((client) => cluster.homeOf(client).index === node);
    assert.deepEqual(
      cluster.adapter(node).rooms.get(room) ?? new Set(),
      new Set(ids.map(({ id }) => id)),
      `the members of ${room} in the adapter of node ${node}`,
    );
  }
}

/** @param {SocketClient[]} members */
function roomOf(...members) {
  const room = newRoom();
  members.forEach((client) => context.cluster.serverSocket(client).join(room));
  return room;
}

for (const sender of NODES) {
  describe(`sent by node ${sender} (${adapters.kindOf(sender)})`, () => {
    test("socketsJoin makes every socket join", async () => {
      const { cluster } = context;
      const room = newRoom();
      cluster.io(sender).socketsJoin(room);
      await flushed(cluster, sender);
      assertMembers(room, cluster.clients);
    });

    test("socketsJoin of several rooms", async () => {
      const { cluster } = context;
      const joined = [newRoom(), newRoom(), newRoom()];
      cluster.io(sender).socketsJoin(joined);
      await flushed(cluster, sender);
      joined.forEach((room) => assertMembers(room, cluster.clients));
    });

    test("socketsJoin of a room's members, and of all except a room's members", async () => {
      const { cluster } = context;
      const [a, b, c, d, e, f] = cluster.clients;
      const some = roomOf(a, c, e);
      const byRoom = newRoom();
      const byExcept = newRoom();
      const byBoth = newRoom();
      cluster.io(sender).in(some).socketsJoin(byRoom);
      cluster.io(sender).except(some).socketsJoin(byExcept);
      cluster.io(sender).in(some).except(c.id).socketsJoin(byBoth);
      await flushed(cluster, sender);
      assertMembers(byRoom, [a, c, e]);
      assertMembers(byExcept, [b, d, f]);
      assertMembers(byBoth, [a, e]);
    });

    test("socketsJoin of one socket by its id", async () => {
      const { cluster } = context;
      for (const client of cluster.clients) {
        const room = newRoom();
        cluster.io(sender).in(client.id).socketsJoin(room);
        await flushed(cluster, sender);
        assertMembers(room, [client]);
      }
    });

    test("local.socketsJoin and local.socketsLeave stay on the node", async () => {
      const { cluster, admin } = context;
      const room = newRoom();
      const left = roomOf(...cluster.clients);
      const before = await lastEntryId(admin, streamOf("/"));
      cluster.io(sender).local.socketsJoin(room);
      cluster.io(sender).local.socketsLeave(left);
      const written = await messagesAfter(admin, streamOf("/"), before);
      assert.deepEqual(written, [], "no entry was written");
      await flushed(cluster, sender);
      const own = cluster.clientsOf(sender);
      assertMembers(room, own);
      assertMembers(
        left,
        cluster.clients.filter((client) => !own.includes(client)),
      );
    });

    test("socketsLeave makes every socket leave, of one room or several", async () => {
      const { cluster } = context;
      const [one, two, three, kept] = [0, 1, 2, 3].map(() => roomOf(...cluster.clients));
      cluster.io(sender).socketsLeave(one);
      cluster.io(sender).socketsLeave([two, three, "never joined"]);
      await flushed(cluster, sender);
      [one, two, three].forEach((room) => assertMembers(room, []));
      assertMembers(kept, cluster.clients);
    });

    test("socketsLeave of a room's members, and of all except a room's members", async () => {
      const { cluster } = context;
      const [a, b, c, d, e, f] = cluster.clients;
      const some = roomOf(b, d, e);
      const byRoom = roomOf(...cluster.clients);
      const byExcept = roomOf(...cluster.clients);
      cluster.io(sender).in(some).socketsLeave(byRoom);
      cluster.io(sender).except(some).socketsLeave(byExcept);
      await flushed(cluster, sender);
      assertMembers(byRoom, [a, c, f]);
      assertMembers(byExcept, [b, d, e]);
    });

    test("an emit behind a socketsJoin reaches those who joined, behind a socketsLeave not", async () => {
      const { cluster } = context;
      const io = cluster.io(sender);
      for (let round = 0; round < 10; round++) {
        const room = newRoom();
        const joins = () => {
          io.socketsJoin(room);
          io.to(room).emit("hello", round);
        };
        await assertReceivers(cluster, sender, joins, cluster.clients, ["hello", round]);
        const leaves = () => {
          io.socketsLeave(room);
          io.to(room).emit("hello", round);
        };
        await assertReceivers(cluster, sender, leaves, [], []);
      }
    });

    test("the adapter's room events are emitted on the node of the socket", async () => {
      const { cluster } = context;
      const other = (sender + 1) % NODES.length;
      for (const node of [sender, other]) {
        const [client] = cluster.clientsOf(node);
        const adapter = cluster.adapter(node);
        const room = newRoom();
        /** @type {any[]} */
        const events = [];
        const listeners = ["create-room", "join-room", "leave-room", "delete-room"].map((event) => {
          const listener = (/** @type {any[]} */ ...args) => events.push([event, ...args]);
          adapter.on(event, listener);
          return { event, listener };
        });
        cluster.io(sender).in(client.id).socketsJoin(room);
        cluster.io(sender).in(client.id).socketsLeave(room);
        await flushed(cluster, sender);
        listeners.forEach(({ event, listener }) => adapter.off(event, listener));
        assert.deepEqual(events, [
          ["create-room", room],
          ["join-room", room, client.id],
          ["leave-room", room, client.id],
          ["delete-room", room],
        ]);
      }
    });
  });
}

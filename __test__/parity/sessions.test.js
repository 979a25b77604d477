// The sessions of connection state recovery: what is stored, what is restored and what is refused.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { adapters, useCluster } = require("../helpers/cluster");
const {
  SESSION_KEY_PREFIX,
  clientWithOffset,
  cut,
  hasSession,
  missedBy,
  offsetOf,
  packetsOf,
  pidOf,
} = require("../helpers/recovery");
const { ANSWER_TIMEOUT, settle, waitFor } = require("../helpers/wait");
const { decode, encodeBinary, lastEntryId, streamOf } = require("../helpers/wire");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const NODES = [0, 1, 2];
const STREAM = streamOf("/");

describe("sessions", () => {
  const context = useCluster({
    serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } },
  });

  /**
   * Waits until the cluster's own clients have each received `count` of an event.
   *
   * @param {string} event
   * @param {number} [count]
   */
  async function everybodyReceives(event, count) {
    await Promise.all(context.cluster.clients.map((client) => client.receives(event, count)));
  }

  /** Event names of one test only. */
  let events = 0;
  const newEvent = () => `event-${events++}`;

  for (const node of NODES) {
    describe(`on node ${node} (${adapters.kindOf(node)})`, () => {
      /**
       * Connects anew with a session and an offset, as a client could that makes them up.
       *
       * @param {any} auth
       */
      async function connectWith(auth) {
        const client = await context.cluster.connect(node, { auth });
        return { client, server: context.cluster.serverSocket(client) };
      }

      test("every event carries an offset, except volatile and local ones", async () => {
        const { cluster } = context;
        const client = await cluster.connect(node);
        const socket = cluster.serverSocket(client);
        const event = newEvent();
        socket.emit(event, "direct");
        cluster.io((node + 1) % 3).emit(event, "broadcast");
        await client.receives(event, 2);
        for (const args of client.received(event)) {
          assert.equal(args.length, 2);
          assert.match(args[1], /^\d+-\d+$/);
        }
        const ordered = client.received(event).map(([, offset]) => offset);
        assert.equal(offsetOf(client), ordered[1]);
        const volatile = newEvent();
        cluster.io((node + 1) % 3).volatile.emit(volatile, 1);
        assert.deepEqual(await client.receives(volatile), [[1]]);
        await cluster.disconnect(client);
      });

      test("a session is stored as other versions store it, and used once", async () => {
        const { admin, cluster } = context;
        const client = await clientWithOffset(cluster, node);
        const { id } = client;
        const pid = pidOf(cluster, client);
        const offset = offsetOf(client);
        cluster.serverSocket(client).join("room");
        cluster.serverSocket(client).data = { a: 1 };
        await cut(cluster, client);
        const raw = await admin.command("GET", SESSION_KEY_PREFIX + pid);
        const session = /** @type {any} */ (decode(Buffer.from(raw, "base64")));
        assert.equal(session.sid, id);
        assert.equal(session.pid, pid);
        assert.deepEqual(session.rooms.sort(), [id, "room"].sort());
        assert.deepEqual(session.data, { a: 1 });
        const ttl = await admin.command("PTTL", SESSION_KEY_PREFIX + pid);
        assert.ok(ttl > 0 && ttl <= 60_000, `it expires in ${ttl} ms`);

        await missedBy(cluster, client, node);
        assert.equal(await hasSession(cluster, pid), false);
        await cluster.disconnect(client);
        const second = await connectWith({ pid, offset });
        assert.equal(second.server.recovered, false);
        assert.notEqual(second.client.id, id);
        await cluster.disconnect(second.client);
      });

      test("a session that another version stored is restored", async () => {
        const { admin, cluster } = context;
        const event = newEvent();
        const pid = `stored-${node}`;
        const session = { sid: `sid-${node}`, pid, rooms: [`sid-${node}`, "r"], data: { a: "é" } };
        await admin.command("SET", SESSION_KEY_PREFIX + pid, encodeBinary(session), "PX", 10_000);
        // That of a broadcast: clients get no other.
        cluster.io(node).emit("before");
        await cluster.clients[node].receives("before", node + 1);
        const offset = offsetOf(cluster.clients[node]);
        cluster.io(node).emit(event, 1);
        cluster.io(node).to("r").emit(event, 2);
        cluster.io(node).to("not r").emit(event, "wrong");
        cluster.io(node).emit(event, 3);
        await everybodyReceives(event, 2);
        const { client, server } = await connectWith({ pid, offset });
        assert.equal(server.recovered, true);
        assert.equal(client.id, `sid-${node}`);
        assert.deepEqual(server.rooms, new Set([`sid-${node}`, "r"]));
        assert.deepEqual(server.data, { a: "é" });
        await client.receives(event, 3);
        assert.deepEqual(packetsOf(client), [
          [event, 1],
          [event, 2],
          [event, 3],
        ]);
        await cluster.disconnect(client);
      });

      test("an unknown session is refused", async () => {
        const { admin, cluster } = context;
        const offset = await lastEntryId(admin, STREAM);
        const { client, server } = await connectWith({ pid: "unknown", offset });
        assert.equal(server.recovered, false);
        assert.deepEqual(client.record, []);
        await cluster.disconnect(client);
      });

      test("a hostile session id is refused", async () => {
        const { admin, cluster } = context;
        const offset = await lastEntryId(admin, STREAM);
        for (const pid of [
          ...["", "*", "../x", "\0", "a\r\nFLUSHALL\r\n", "é🎉", "\ud800", "x".repeat(50_000)],
          ...[null, 1, {}, [], { length: 1 }, true],
        ]) {
          const { client, server } = await connectWith({ pid, offset });
          assert.equal(server.recovered, false);
          await cluster.disconnect(client);
        }
      });

      test("an offset that is none, or of no entry, is refused", async () => {
        const { cluster } = context;
        for (const bad of [
          ...["", "abc", "1", "-", "+", "$", "*", "1-1-1", "1-", "-1", " 1-1", "1-1 ", "1-*"],
          ...["(1-1", "0x1-1", "1e3-1", "é", "\0", "1-1\r\nFLUSHALL", "1-1", "0-0"],
          ...["9999999999999-0", `${"9".repeat(400)}-0`, `1-${"9".repeat(400)}`],
          ...["18446744073709551615-18446744073709551615", "99999999999999999999-0"],
          ...[null, 1, {}, ["1-1"]],
        ]) {
          const client = await clientWithOffset(cluster, node);
          const pid = pidOf(cluster, client);
          const { id } = client;
          await cut(cluster, client);
          const second = await connectWith({ pid, offset: bad });
          assert.equal(second.server.recovered, false, `offset ${JSON.stringify(bad)}`);
          assert.notEqual(second.client.id, id);
          assert.deepEqual(second.client.record, []);
          await cluster.disconnect(second.client);
        }
      });

      test("a packet without offset that ends in a string spoils the offset: refused", async () => {
        const { cluster } = context;
        const client = await clientWithOffset(cluster, node);
        const event = newEvent();
        cluster.io(node).local.emit(event, "not an offset");
        await client.receives(event);
        await cut(cluster, client);
        await cluster.reconnect(client, node);
        assert.equal(client.socket.recovered, false);
        await cluster.disconnect(client);
      });

      test("a malformed session is refused", async () => {
        const { admin, cluster } = context;
        const offset = await lastEntryId(admin, STREAM);
        for (const value of ["", "%%%", "AAAA", Buffer.from([0xc1]).toString("base64")]) {
          await admin.command("SET", `${SESSION_KEY_PREFIX}malformed`, value, "PX", 10_000);
          const { client, server } = await connectWith({ pid: "malformed", offset });
          assert.equal(server.recovered, false);
          await cluster.disconnect(client);
        }
      });

      test("a client or a server that ends the connection leaves no session", async () => {
        const { cluster } = context;
        for (const end of [
          (/** @type {SocketClient} */ client) => client.disconnect(),
          (/** @type {SocketClient} */ client) => cluster.serverSocket(client).disconnect(),
        ]) {
          const client = await clientWithOffset(cluster, node);
          const pid = pidOf(cluster, client);
          const { sockets } = cluster.io(node).sockets;
          end(client);
          await waitFor(() => !sockets.has(client.id));
          await settle(30);
          assert.equal(await hasSession(cluster, pid), false);
          await client.reconnect();
          assert.equal(client.socket.recovered, false);
          await cluster.disconnect(client);
        }
      });

      test("requests see a recovered socket", async () => {
        const { cluster } = context;
        const client = await clientWithOffset(cluster, node);
        cluster.serverSocket(client).join(`again-${node}`);
        await cut(cluster, client);
        await missedBy(cluster, client, (node + 1) % 3);
        const [socket, ...more] = await cluster.io(node).in(`again-${node}`).fetchSockets();
        assert.equal(socket.id, client.id);
        assert.deepEqual(more, []);
        client.socket.on("ask", (answer) => answer("yes"));
        assert.deepEqual(
          await cluster.io(node).to(`again-${node}`).timeout(ANSWER_TIMEOUT).emitWithAck("ask"),
          ["yes"],
        );
        await cluster.disconnect(client);
      });
    });
  }
});

describe("a session that has expired", () => {
  const context = useCluster({
    serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 400 } },
  });

  for (const node of NODES) {
    test(`is refused on node ${node}`, async () => {
      const { cluster } = context;
      const client = await clientWithOffset(cluster, node);
      const { id } = client;
      const pid = pidOf(cluster, client);
      await cluster.cut(client);
      cluster.io(node).emit("missed");
      let existed = false;
      await waitFor(
        async () => {
          const exists = await hasSession(cluster, pid);
          existed ||= exists;
          return existed && !exists;
        },
        { what: "the session to come and to expire" },
      );
      await cluster.reconnect(client, node);
      assert.equal(client.socket.recovered, false);
      assert.notEqual(client.id, id);
      cluster.io(node).to(client.id).emit("last");
      await client.receives("last");
      assert.deepEqual(client.received("missed"), []);
      await cluster.disconnect(client);
    });
  }
});

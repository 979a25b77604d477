// What a chaos run does to Redis. Nothing of it loses what Redis has acknowledged; while Redis refuses
// something, that is noted.

"use strict";

const { settle } = require("../helpers/wait");
const { between, oneOf } = require("./chances");

/**
 * @typedef {import("./redis").RedisKind} RedisKind
 * @typedef {import("./redis/servers").Servers} Servers
 * @typedef {import("./scenario").Scenario} Scenario
 *
 * @typedef {object} RedisFault
 * @property {RedisKind[]} [only] the kinds that it can happen to, by default all
 * @property {(chance: () => number) => Record<string, any>} draw its particulars
 * @property {(servers: Servers, particulars: any, scenario: Scenario) => Promise<unknown>} happen
 *   resolves when it is over
 */

/** The least that Redis takes for the limits of queries. */
const QUERY_LIMIT = 1 << 20;
/** More than that, in one packet. */
const OVERSIZED = 1_500_000;

/** One of the masters, half of the time that of the stream. @param {() => number} chance */
const which = (chance) => ({ which: chance() < 0.5 ? 0 : chance() });

/** @param {Servers} servers @param {{ which: number }} particulars */
async function masterOf(servers, { which }) {
  const masters = await servers.masters();
  return masters[Math.floor(which * masters.length)];
}

/** @param {Servers} servers @param {string[]} types of connections */
function killConnections(servers, types) {
  return Promise.all(
    servers.servers.flatMap((server) =>
      types.map((type) => servers.tell(server, `CLIENT KILL TYPE ${type} SKIPME yes`, /^:\d+/)),
    ),
  );
}

/**
 * Sets something on all servers for a while.
 *
 * @param {Servers} servers
 * @param {Record<string, [string | number, string | number]>} settings each with its value afterwards
 * @param {() => Promise<unknown>} meanwhile
 */
async function configured(servers, settings, meanwhile) {
  const set = async (/** @type {0 | 1} */ when) => {
    for (const [name, values] of Object.entries(settings)) {
      await Promise.all(
        servers.servers.map((server) =>
          servers.tell(server, `CONFIG SET ${name} "${values[when]}"`),
        ),
      );
    }
  };
  try {
    await set(0);
    await meanwhile();
  } finally {
    await set(1);
  }
}

/** @type {Record<string, RedisFault>} */
const REDIS_FAULTS = {
  "connections killed": {
    draw: (chance) => ({ types: [oneOf(chance, ["normal", "pubsub"])] }),
    happen: (servers, { types }) => killConnections(servers, types),
  },

  "all connections killed": {
    draw: () => ({}),
    happen: (servers) => killConnections(servers, ["normal", "pubsub"]),
  },

  "redis stopped": {
    draw: (chance) => ({ ...which(chance), ms: between(chance, 100, 2_000) }),
    async happen(servers, particulars) {
      const master = await masterOf(servers, particulars);
      master.pause();
      await settle(particulars.ms);
      master.resume();
    },
  },

  "redis restarted": {
    draw: which,
    happen: async (servers, particulars) =>
      servers.restart(await masterOf(servers, particulars), "SIGTERM"),
  },

  "redis killed": {
    draw: which,
    happen: async (servers, particulars) =>
      servers.restart(await masterOf(servers, particulars), "SIGKILL"),
  },

  // A master that is made a replica of nothing, and a master again.
  "redis read-only": {
    only: ["single", "sentinel"],
    draw: (chance) => ({ ms: between(chance, 100, 2_000) }),
    async happen(servers, { ms }) {
      const [master] = await servers.masters();
      await servers.tell(master, "REPLICAOF 127.0.0.1 1");
      await settle(ms);
      await servers.tell(master, "REPLICAOF NO ONE");
    },
  },

  "replica took over": {
    draw: (chance) => ({
      ...which(chance),
      ms: between(chance, 0, 1_000),
      byFailover: chance() < 0.5,
    }),
    happen: async (servers, particulars) =>
      servers.failOver(await masterOf(servers, particulars), particulars),
  },

  "output limited": {
    draw: (chance) => ({
      ms: between(chance, 500, 3_000),
      bytes: Math.floor(30_000 * 50 ** chance()),
    }),
    happen: (servers, { ms, bytes }) =>
      configured(
        servers,
        { "client-output-buffer-limit": [`normal ${bytes} 0 0`, "normal 0 0 0"] },
        () => settle(ms),
      ),
  },

  // Redis ends the connection over what is larger, without a reply perhaps.
  "queries limited": {
    draw: (chance) => ({ ms: between(chance, 500, 3_000), node: chance() }),
    happen: (servers, { ms, node }, scenario) =>
      scenario.whileRefusing("oversized", () =>
        configured(
          servers,
          {
            "proto-max-bulk-len": [QUERY_LIMIT, 512 << 20],
            "client-query-buffer-limit": [QUERY_LIMIT, 1 << 30],
          },
          async () => {
            const agents = scenario.places.flatMap(({ agent }) => agent ?? []);
            // It may be killed at any moment.
            await agents[Math.floor(node * agents.length)]
              ?.emitOversized(OVERSIZED)
              .catch(() => {});
            await settle(ms);
          },
        ),
      ),
  },

  // Each write that needs memory is refused, those of sessions too.
  "redis full": {
    draw: (chance) => ({ ms: between(chance, 200, 3_000) }),
    happen: (servers, { ms }, scenario) =>
      scenario.whileRefusing("all", () =>
        configured(servers, { maxmemory: [1, 0] }, () => settle(ms)),
      ),
  },
};

module.exports = { REDIS_FAULTS };

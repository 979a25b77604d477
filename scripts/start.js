"use strict";
// `npm start`: runs the page of examples/cluster-page on three nodes with one Redis. It works in a fresh
// clone too.
//
//     REDIS_URL=redis://host npm start     uses this Redis instead of a private one
//     PORT=4000 npm start                  uses another first port

const { ScriptError, main } = require("./run");
const { installPackages } = require("./install-packages");
const { installProgram } = require("./system-package");
const { build } = require("./build");
const { startPrivateRedis } = require("./private-redis");

/** The time between two checks that npm still runs (ms). */
const PARENT_INTERVAL = 500;

/** @returns {Promise<unknown>} settles on Ctrl-C or another signal to end this process */
function untilAskedToEnd() {
  return new Promise((resolve) => {
    // `on`, because a second signal must not interrupt the closing.
    ["SIGINT", "SIGTERM", "SIGHUP"].forEach((signal) => process.on(signal, resolve));
    // A signal to npm alone ends only npm and the shell between it and this process.
    if (process.env.npm_lifecycle_event) {
      const parent = process.ppid;
      setInterval(() => process.ppid === parent || resolve(undefined), PARENT_INTERVAL).unref();
    }
  });
}

/**
 * @param {string} redisUrl
 * @param {Promise<unknown>} askedToEnd
 * @param {{ restart(pause: number): Promise<void> }} [redisServer] the Redis, if it is private
 */
async function runCluster(redisUrl, askedToEnd, redisServer) {
  // Loaded here, because it needs packages that may have just been installed.
  const { Supervisor } = require("../examples/cluster-page/supervisor/supervisor");
  const supervisor = new Supervisor(redisUrl, Number(process.env.PORT ?? 3000), redisServer);
  try {
    const started = supervisor.started().then(
      (nodes) => {
        console.log(`\nRedis   ${supervisor.redisUrl}`);
        nodes.forEach(({ name, address }) => console.log(`${name}  ${address}`));
        console.log("\nOpen two of them, and hurt the cluster while you watch. Ctrl-C ends it.");
      },
      (error) => {
        throw new ScriptError(error.message);
      },
    );
    await Promise.race([Promise.all([started, askedToEnd]), askedToEnd]);
  } finally {
    await supervisor.close();
  }
}

main({}, async () => {
  installPackages();
  build();
  if (process.env.REDIS_URL) {
    return runCluster(process.env.REDIS_URL, untilAskedToEnd());
  }

  const redisServer = installProgram("redis");
  const askedToEnd = untilAskedToEnd();
  const redis = await startPrivateRedis(redisServer);
  try {
    await runCluster(redis.url, askedToEnd, redis);
  } finally {
    await redis.stop();
  }
});

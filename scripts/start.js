"use strict";
// `npm start`: the page of examples/cluster-page on three nodes over one Redis, from a fresh clone too.
//
//     REDIS_URL=redis://host npm start     that Redis instead of a private one
//     PORT=4000 npm start                  another first port

const { ScriptError, main } = require("./run");
const { installPackages } = require("./install-packages");
const { installProgram } = require("./system-package");
const { build } = require("./build");
const { startPrivateRedis } = require("./private-redis");

/** How often to look whether npm is still there (ms). */
const PARENT_INTERVAL = 500;

/** @returns {Promise<unknown>} settled by Ctrl-C, or by whatever else asks this process to end */
function untilAskedToEnd() {
  return new Promise((resolve) => {
    // `on`, since a second signal must not cut the closing short.
    ["SIGINT", "SIGTERM", "SIGHUP"].forEach((signal) => process.on(signal, resolve));
    // A signal for npm alone ends only npm and the shell between it and this process.
    if (process.env.npm_lifecycle_event) {
      const parent = process.ppid;
      setInterval(() => process.ppid === parent || resolve(undefined), PARENT_INTERVAL).unref();
    }
  });
}

/**
 * @param {string} redisUrl
 * @param {Promise<unknown>} askedToEnd
 * @param {{ restart(pause: number): Promise<void> }} [redisServer] when it is our own
 */
async function runCluster(redisUrl, askedToEnd, redisServer) {
  // Here, since it needs packages that may just have been installed.
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

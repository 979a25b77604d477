// The connection of this tab. When its node is gone it tries the others, and is recovered there.

import { Manager } from "/socket.io/socket.io.esm.min.js";

/** @param {() => object} auth */
export function openLink(auth) {
  /** @type {any} `uri` is not among its types */
  const manager = new Manager(location.origin, {
    transports: ["websocket"],
    reconnectionDelay: 200,
    reconnectionDelayMax: 1_000,
    timeout: 3_000, // a node that is blocked takes the connection, and says nothing
  });
  const socket = manager.socket("/", {
    auth: (/** @type {(auth: object) => void} */ send) => send(auth()),
  });
  /** @type {string[]} */
  let addresses = [location.origin];
  let current = 0;

  /** @param {import("../supervisor/supervisor.js").Cluster} cluster */
  function learn({ nodes }) {
    const known = nodes.flatMap(({ address }) => address ?? []);
    if (known.join() !== addresses.join()) {
      const { port } = new URL(manager.uri);
      addresses = known;
      current = known.findIndex((address) => new URL(address).port === port);
    }
  }
  socket.on("cluster", learn);

  manager.on("error", () => {
    current = (current + 1) % addresses.length;
    manager.uri = addresses[current];
  });

  return socket;
}

// The buttons that hurt the cluster.

import { byId, element, say } from "./dom.js";

/** A node that is blocked passes on nothing for that long, and then some (ms). */
const ANSWER_LIMIT = 10_000;

/**
 * Which node is to be hurt: at first not the one that this tab is connected to.
 *
 * @param {string[]} nodes
 * @param {string | undefined} own
 */
export function makeTargets(nodes, own) {
  const suggested = nodes.find((node) => node !== own);
  const radios = nodes.map((node, i) => {
    const radio = document.createElement("input");
    Object.assign(radio, { type: "radio", name: "target", value: node });
    radio.checked = node === suggested;
    return element("label", `colour-node-${i + 1}`, radio, element("span", "", node));
  });
  byId("targets").append(...radios);
}

/** @param {any} socket */
export function listenToButtons(socket) {
  const outcome = byId("outcome");

  /** @param {string} action @param {string} words what the button says */
  async function hurt(action, words) {
    const target = document.querySelector("input[name=target]:checked");
    const node = /** @type {HTMLInputElement | null} */ (target)?.value;
    const what = action === "restart-redis" ? words : `${words}: ${node}`;
    if (!socket.connected) {
      say(outcome, `${what}: not now, this tab is not connected`);
      return;
    }
    say(outcome, `${what} …`);
    try {
      const command = { action, node };
      const result = await socket.timeout(ANSWER_LIMIT).emitWithAck("command", command);
      say(outcome, result.ok ? `${what}: done` : `${what}: ${result.error}`);
    } catch {
      // The node that was to answer was killed by it, or is blocked.
      say(outcome, socket.connected ? `${what}: no answer from this tab's node` : `${what}: done`);
    }
  }

  document.querySelectorAll("button[data-action]").forEach((button) => {
    const { action } = /** @type {HTMLElement} */ (button).dataset;
    button.addEventListener("click", () => hurt(String(action), String(button.textContent).trim()));
  });
}

// The chat: a person's proof that what is emitted on one node arrives on all.

import { appendTo, byId, element, say } from "./dom.js";

/** How often the list is asked for even when nobody came or went (ms): a node that was killed says no
 * goodbye for its people. */
const PEOPLE_INTERVAL = 5_000;
const LIMIT = 200;

const [messages, people, form, nameInput, textInput] = [
  ...["messages", "people", "chat-form", "name", "text"],
].map(byId);

nameInput.value =
  sessionStorage.getItem("name") ?? `Guest ${Math.floor(100 + Math.random() * 900)}`;

export function currentName() {
  return nameInput.value;
}

/** @param {any} socket */
export function openChat(socket) {
  /** @param {string} words */
  function notice(words) {
    appendTo(messages, element("li", "notice", words), LIMIT);
  }

  async function refreshPeople() {
    /** @type {{ id: string, name: string, node: string }[]} */
    const list = await socket.timeout(PEOPLE_INTERVAL).emitWithAck("everybody");
    const names = list
      .sort((a, b) => a.node.localeCompare(b.node) || a.name.localeCompare(b.name))
      .map(({ id, name, node }) => `${id === socket.id ? "you" : name} (${node})`);
    say(people, `Here now: ${names.join(", ")}`);
  }

  function askForPeople() {
    if (socket.connected) {
      refreshPeople().catch(() => {}); // the next round asks again
    }
  }

  socket.on("message", (/** @type {any} */ message) => {
    const time = new Date(message.time).toLocaleTimeString([], { timeStyle: "short" });
    const from = element("strong", "", message.name);
    const origin = element("small", "", ` ${time}, via ${message.node}`);
    const mine = message.from === socket.id ? " mine" : "";
    const item = element("li", `message${mine}`, from, origin, element("p", "", message.text));
    appendTo(messages, item, LIMIT);
  });

  socket.on("presence", (/** @type {any} */ { name, action }) => {
    notice(`${name} ${action}`);
    askForPeople();
  });

  setInterval(askForPeople, PEOPLE_INTERVAL);

  nameInput.addEventListener("change", () => {
    if (nameInput.reportValidity()) {
      sessionStorage.setItem("name", nameInput.value);
      socket.emit("name", nameInput.value);
    }
  });

  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    socket.emit("message", textInput.value);
    textInput.value = "";
    textInput.focus();
  });
}

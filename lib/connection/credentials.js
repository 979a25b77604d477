"use strict";
// Credentials that are asked for at each connect: tokens that expire, secrets that are rotated.

const { settingError } = require("./errors.js");
const { isMissing, typeName } = require("./values.js");

/** @typedef {import("./errors.js").Context} Context */
/** @typedef {{ username?: string, password?: string }} Credentials */
/** @typedef {() => Promise<Credentials>} AskCredentials */

/**
 * @param {Context} context
 * @param {string} name
 * @param {() => unknown} ask
 * @returns {AskCredentials}
 */
function fromFunction(context, name, ask) {
  return async () => checked(context, name, await ask());
}

/**
 * A credentials provider of node-redis 5 or 6, of either kind.
 *
 * @param {Context} context
 * @param {any} provider
 * @returns {AskCredentials}
 */
function fromProvider(context, provider) {
  const name = "credentialsProvider";
  if (
    provider.type === "async-credentials-provider" &&
    typeof provider.credentials === "function"
  ) {
    return fromFunction(context, name, () => provider.credentials());
  }
  if (
    provider.type === "streaming-credentials-provider" &&
    typeof provider.subscribe === "function"
  ) {
    return fromFunction(context, name, () => currentOf(provider));
  }
  throw settingError(
    context,
    name,
    'must have the type "async-credentials-provider" and a `credentials` function, ' +
      'or the type "streaming-credentials-provider" and a `subscribe` function',
  );
}

/**
 * Subscribes for as long as it takes to learn the current credentials: a subscription that stayed
 * would keep the provider's refresh timer, and with it the process, alive after the last adapter
 * is closed.
 *
 * @param {any} provider
 */
async function currentOf(provider) {
  const [credentials, subscription] = await provider.subscribe({
    onNext() {},
    onError() {},
  });
  subscription.dispose();
  return credentials;
}

/**
 * @param {Context} context
 * @param {string} name
 * @param {any} answer
 * @returns {Credentials}
 */
function checked(context, name, answer) {
  if (typeof answer !== "object" || answer === null) {
    throw settingError(
      context,
      name,
      `must give an object { username, password }, not ${typeName(answer)}`,
    );
  }
  /** @type {Credentials} */
  const credentials = {};
  for (const part of /** @type {const} */ (["username", "password"])) {
    const value = answer[part];
    if (isMissing(value)) {
      continue;
    }
    if (typeof value !== "string") {
      throw settingError(
        context,
        name,
        `must give a string as \`${part}\`, not ${typeName(value)}`,
      );
    }
    credentials[part] = value;
  }
  return credentials;
}

module.exports = { fromFunction, fromProvider };

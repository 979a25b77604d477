"use strict";
// Credentials that the user's function or provider gives at each connect. A streaming provider also
// reports changes: tokens that expire, secrets that are rotated.

const { settingError } = require("./errors.js");
const { isMissing, login, typeName } = require("./values.js");

/** @typedef {import("./errors.js").Context} Context */
/** @typedef {{ username?: string, password?: string }} Credentials */
/** @typedef {() => Promise<Credentials>} AskCredentials */
/** @typedef {(answer: unknown) => Credentials} Read checks an answer of the user's function or provider */
/**
 * @typedef {object} CredentialsListener
 * @property {(credentials: Credentials) => void} onNext
 * @property {(error: unknown) => void} onError
 */
/**
 * Passes changes on to a listener until the function that it resolves with is called.
 *
 * @typedef {(listener: CredentialsListener) => Promise<() => void>} FollowCredentials
 */
/** @typedef {{ credentials: AskCredentials, followCredentials?: FollowCredentials }} Source */

/**
 * @param {Context} context
 * @param {string} name
 * @param {() => unknown} ask
 * @returns {Source}
 */
function fromFunction(context, name, ask) {
  return { credentials: async () => loginIn(context, name, await ask()) };
}

/**
 * Takes a credentials provider of node-redis 5 or 6, of either kind.
 *
 * @param {Context} context
 * @param {string} name
 * @param {any} provider
 * @param {{ needsPassword?: boolean }} [options] `needsPassword`: true if a user name without a
 *   password is no login for the client
 * @returns {Source}
 */
function fromProvider(context, name, provider, { needsPassword = false } = {}) {
  /** @type {Read} */
  const read = (answer) => {
    const credentials = loginIn(context, name, answer);
    return needsPassword && !credentials.password ? {} : credentials;
  };
  if (
    provider.type === "async-credentials-provider" &&
    typeof provider.credentials === "function"
  ) {
    return { credentials: async () => read(await provider.credentials()) };
  }
  if (
    provider.type === "streaming-credentials-provider" &&
    typeof provider.subscribe === "function"
  ) {
    return {
      credentials: async () => read(await currentOf(provider)),
      followCredentials: (listener) => follow(provider, read, listener),
    };
  }
  throw settingError(
    context,
    name,
    'must have the type "async-credentials-provider" and a `credentials` function, ' +
      'or the type "streaming-credentials-provider" and a `subscribe` function',
  );
}

/**
 * Subscribes until the provider has given the current credentials.
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
 * @param {any} provider
 * @param {Read} read
 * @param {CredentialsListener} listener
 * @returns {Promise<() => void>}
 */
async function follow(provider, read, { onNext, onError }) {
  const [, subscription] = await provider.subscribe({
    /** @param {unknown} answer */
    onNext(answer) {
      let credentials;
      try {
        credentials = read(answer);
      } catch (error) {
        return onError(error);
      }
      onNext(credentials);
    },
    onError,
  });
  return () => subscription.dispose();
}

/**
 * @param {Context} context
 * @param {string} name
 * @param {any} answer
 * @returns {Credentials} as if they were plain settings
 */
function loginIn(context, name, answer) {
  if (typeof answer !== "object" || answer === null) {
    throw settingError(
      context,
      name,
      `must give an object { username, password }, not ${typeName(answer)}`,
    );
  }
  for (const part of /** @type {const} */ (["username", "password"])) {
    const value = answer[part];
    if (!isMissing(value) && typeof value !== "string") {
      throw settingError(
        context,
        name,
        `must give a string as \`${part}\`, not ${typeName(value)}`,
      );
    }
  }
  return login(context, answer.username, answer.password);
}

module.exports = { fromFunction, fromProvider };

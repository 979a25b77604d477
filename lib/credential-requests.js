"use strict";
// Credentials that are asked for: the engine wants them for each connection that it makes, and those
// that are open get what a streaming provider gives later.

class CredentialRequests {
  #native;
  #settings;
  /** The subscription to changes, once there is one. @type {Promise<() => void> | undefined} */
  #following;

  /**
   * @param {import("./native-binding").NativeEngine} native
   * @param {import("./connection").ConnectionSettings} settings
   */
  constructor(native, settings) {
    this.#native = native;
    this.#settings = settings;
  }

  /**
   * Answers the engine. Never rejects: the engine reports what the provider has failed with.
   *
   * @param {number} request
   */
  async provide(request) {
    try {
      await this.#follow();
      const credentials = (await this.#settings.credentials?.()) ?? {};
      this.#native.provideCredentials(request, credentials.username, credentials.password);
    } catch (error) {
      this.#native.provideCredentials(request, undefined, undefined, reasonOf(error));
    }
  }

  /** Ends the subscription. */
  stop() {
    this.#following?.then((stop) => stop()).catch(() => {});
  }

  /** Subscribes with the first connection. */
  async #follow() {
    this.#following ??= this.#settings.followCredentials?.({
      onNext: ({ username, password }) => this.#native.renewCredentials(username, password),
      onError: (error) => this.#native.credentialsFailed(reasonOf(error)),
    });
    try {
      await this.#following;
    } catch (error) {
      this.#following = undefined; // the next connection tries again
      throw error;
    }
  }
}

/** @param {unknown} error */
function reasonOf(error) {
  return error instanceof Error ? error.message : String(error);
}

module.exports = { CredentialRequests };

"use strict";
// Gets credentials from the user's function or provider for each connection that the engine makes,
// and passes new ones from a streaming provider on to the engine, for the open connections.

class CredentialRequests {
  #native;
  #settings;
  /** Absent before the first connection. @type {Promise<() => void> | undefined} */
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
   * Answers the engine. Never rejects: the engine reports the provider's error.
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

  /** Subscribes when the engine makes its first connection. */
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

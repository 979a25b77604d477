"use strict";
// The errors and the warning about connection settings. They name the setting, but never show its
// value, because a value may be a secret.

const UNKNOWN_CLIENT = "ERR_SIO_REDIS_CLIENT";
const UNUSABLE_SETTING = "ERR_SIO_REDIS_SETTING";
const SETTING_IGNORED = "SIO_REDIS_SETTING_IGNORED";

/**
 * The function that the user called, what messages call its argument, and where warnings go.
 *
 * @typedef {object} Context
 * @property {string} caller such as "createAdapter"
 * @property {string} source such as "the ioredis client"
 * @property {(code: string, message: string) => void} warn
 */

/**
 * @param {{ caller: string }} context
 * @param {string} code
 * @param {string} message
 * @returns {TypeError & { code: string }}
 */
function typeError({ caller }, code, message) {
  return Object.assign(new TypeError(`${caller}: ${message}`), { code });
}

/**
 * The argument is not a client that this version supports.
 *
 * @param {{ caller: string }} context
 * @param {string} message
 */
function clientError(context, message) {
  return typeError(context, UNKNOWN_CLIENT, message);
}

/**
 * A setting has an invalid value, or one that the engine's connections do not support.
 *
 * @param {Context} context
 * @param {string} setting as the user wrote it, such as "tls.ca"; "" for the whole argument
 * @param {string} problem what is wrong and what to do
 */
function settingError(context, setting, problem) {
  const subject = setting === "" ? context.source : `${context.source}'s \`${setting}\``;
  return typeError(context, UNUSABLE_SETTING, `${subject} ${problem}`);
}

/**
 * Warns that a setting is ignored. The engine works without it.
 *
 * @param {Context} context
 * @param {string} setting
 * @param {string} consequence
 */
function warnIgnored(context, setting, consequence) {
  context.warn(
    SETTING_IGNORED,
    `${context.caller}: ${context.source}'s \`${setting}\` is ignored: ${consequence}`,
  );
}

module.exports = { clientError, settingError, warnIgnored };

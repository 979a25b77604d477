"use strict";
// The errors and the warning that connection settings can end in. They name the setting and never
// show its value: a value may be a secret.

const UNKNOWN_CLIENT = "ERR_SIO_REDIS_CLIENT";
const UNUSABLE_SETTING = "ERR_SIO_REDIS_SETTING";
const SETTING_IGNORED = "SIO_REDIS_SETTING_IGNORED";

/**
 * Whom the user has called, what the input is called in messages, and where warnings go.
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
 * What was passed is no client that this version can work with.
 *
 * @param {{ caller: string }} context
 * @param {string} message
 */
function clientError(context, message) {
  return typeError(context, UNKNOWN_CLIENT, message);
}

/**
 * A setting has a value that cannot be right, or that the engine's connections cannot have.
 *
 * @param {Context} context
 * @param {string} setting as the user wrote it, such as "tls.ca"; "" for the whole of what was passed
 * @param {string} problem what is wrong and what to do
 */
function settingError(context, setting, problem) {
  const subject = setting === "" ? context.source : `${context.source}'s \`${setting}\``;
  return typeError(context, UNUSABLE_SETTING, `${subject} ${problem}`);
}

/**
 * A setting that the engine can do without is left out.
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

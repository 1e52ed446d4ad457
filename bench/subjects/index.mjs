import { direct, directPlain } from './direct.mjs';
import { echo } from './echo.mjs';
import { postgres } from './postgres.mjs';
import { redis } from './redis.mjs';
import { skylinedb, skylinedbRouter } from './skylinedb.mjs';
import { sqld } from './sqld.mjs';

/**
 * What is compared. The benchmark calls `missing` and `start`; each client process calls `connect`.
 *
 * @typedef {object} Subject
 * @property {string} name
 * @property {string} what one line for the report
 * @property {boolean} pipelines whether one client can have more than one batch in flight
 * @property {readonly string[]} loads those that it takes part in
 * @property {readonly ('normal' | 'full')[]} durabilities
 * @property {() => string | null} missing why it cannot be measured here, or null
 * @property {() => string} version
 * @property {(ground: import('../playground.mjs').Playground, setting: Setting) => Promise<Server>} start
 * @property {(target: any, work: Work) => Promise<Session>} connect
 */

/**
 * @typedef {object} Setting
 * @property {string} load
 * @property {'normal' | 'full'} durability
 * @property {number} databases more than one for the load over many databases
 */

/**
 * @typedef {object} Server
 * @property {readonly number[]} pids whose CPU time and memory count, with all their children
 * @property {unknown} target what a client needs to know, as JSON
 * @property {() => Promise<number>} finish stops it, and tells how much was applied
 */

/**
 * @typedef {object} Work
 * @property {string} load
 * @property {number} clients
 * @property {number} inFlight
 * @property {number} client this client's number
 * @property {number} databases
 */

/**
 * @typedef {object} Session
 * @property {(slot: number, n: number) => unknown} batch a promise, or nothing when the answer is there at once
 * @property {() => unknown} close
 */

/** @type {readonly Subject[]} */
export const SUBJECTS = [skylinedb, skylinedbRouter, direct, directPlain, echo, postgres, redis, sqld];

/** @param {string} name */
export function subjectOf(name) {
  const subject = SUBJECTS.find((one) => one.name === name);
  if (subject === undefined) throw new Error(`There is no subject "${name}".`);
  return subject;
}

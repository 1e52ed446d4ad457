import { closeSync, mkdirSync, openSync, renameSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import pino, { type Logger } from 'pino';
import type { LogLevel } from './settings.js';

export type { Logger } from 'pino';

/** Bytes after which the log file begins anew; the one before is kept as `.1`. */
const MAX_LOG_BYTES = 4 * 1024 * 1024;

/**
 * The daemon's log: for people on a terminal, else JSON lines in the state folder, bounded in size. SQL parameters
 * never get into it.
 */
export function openLog(stateDir: string, level: LogLevel, terminal: boolean): Logger {
  const stream = terminal
    ? { write: (line: string) => void process.stderr.write(prettyLine(line)) }
    : new LogFile(join(stateDir, 'daemon.log'));
  return pino({ level, base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime }, stream);
}

/** A file that never grows beyond twice its bound. Written at once: the last lines before a crash are the best ones. */
export class LogFile {
  readonly #path: string;
  readonly #max: number;
  #fd: number;
  #size: number;

  constructor(path: string, max = MAX_LOG_BYTES) {
    mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 });
    this.#path = path;
    this.#max = max;
    this.#fd = openSync(path, 'a', 0o600);
    this.#size = statSync(path).size;
  }

  write(line: string): void {
    try {
      if (this.#size > this.#max) this.#turn();
      this.#size += writeSync(this.#fd, line);
    } catch {
      // A full disk must not take the daemon down for its log.
    }
  }

  #turn(): void {
    const old = this.#fd;
    renameSync(this.#path, `${this.#path}.1`);
    this.#fd = openSync(this.#path, 'a', 0o600);
    this.#size = 0;
    // Last: if a step before fails, the number must not be another file's or a client's by the next line.
    closeSync(old);
  }
}

const LEVEL_NAMES: { readonly [level: number]: string } = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
};

/** `12:34:56 info  Listening endpoint=/run/…` from a line of JSON. */
export function prettyLine(line: string): string {
  const {
    level,
    time,
    msg,
    pid: _pid,
    ...rest
  } = JSON.parse(line) as { level: number; time: string; msg: string; [key: string]: unknown };
  const details = Object.entries(rest).map(
    ([key, value]) => ` ${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return `${time.slice(11, 19)} ${(LEVEL_NAMES[level] ?? '').padEnd(5)} ${msg}${details.join('')}\n`;
}

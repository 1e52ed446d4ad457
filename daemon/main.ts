#!/usr/bin/env node
import { closeSync, writeSync } from 'node:fs';
import { messageOf, SkylineError } from '../protocol/errors.js';
import { surroundings, VERSION } from '../protocol/transport/this-package.js';
import { type Config, DAEMON_HELP, parseConfig } from './config.js';
import { AlreadyRunningError, Daemon } from './daemon.js';
import { openLog } from './log.js';

/** `skylinedb-daemon`: reads the command line, starts the daemon, and tells whoever waits. */
async function main(argv: readonly string[]): Promise<void> {
  if (argv.includes('--help') || argv.includes('-h')) {
    process.stdout.write(DAEMON_HELP);
    return;
  }
  if (argv.includes('--version')) {
    process.stdout.write(`${VERSION}\n`);
    return;
  }
  let config: Config;
  try {
    config = parseConfig(argv, surroundings(), process.cwd());
  } catch (error) {
    // Without a configuration there is no descriptor to report to but the usual one.
    process.stderr.write(`✗ Error: ${messageOf(error)}\n`);
    process.exitCode = 2;
    return;
  }
  await run(config);
}

async function run(config: Config): Promise<void> {
  process.title = 'skylinedb-daemon';
  // Whoever started it may close its end: a log line must not end the daemon.
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', () => undefined);
  let daemon: Daemon;
  try {
    const log = openLog(config.stateDir, config.logLevel, process.stderr.isTTY === true);
    daemon = new Daemon(config, log, () => process.exit(0));
    // A bug: what state things are in is unknown. Workers finish their commit and go; the next client starts anew.
    process.on('uncaughtException', (error) => {
      log.fatal({ err: error }, 'uncaught');
      process.exit(1);
    });
    await daemon.start();
  } catch (error) {
    const message = messageOf(error);
    report(config, { status: 'error', code: startCode(error), message });
    process.stderr.write(`✗ Error: ${message}\n`);
    process.exit(1);
  }
  report(config, { status: 'ready', pid: process.pid, endpoint: config.endpoint });
  let signalled = false;
  const onSignal = (signal: NodeJS.Signals) => {
    if (signalled) {
      daemon.killWorkers();
      process.exit(1);
    }
    signalled = true;
    void daemon.shutdown(signal);
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  // A terminal that closes does not end a daemon that others use.
  process.on('SIGHUP', () => undefined);
}

/** `ALREADY_RUNNING` is no failure to a client: it connects to the one that runs. */
function startCode(error: unknown): string {
  if (error instanceof AlreadyRunningError) return 'ALREADY_RUNNING';
  return error instanceof SkylineError ? error.code : 'INTERNAL';
}

/** One line for whoever started the daemon, then the end of that channel. */
function report(config: Config, line: object): void {
  if (config.readyFd === null) return;
  try {
    writeSync(config.readyFd, `${JSON.stringify(line)}\n`);
    closeSync(config.readyFd);
  } catch {
    // Nobody waits any more.
  }
}

void main(process.argv.slice(2));

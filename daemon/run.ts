import { closeSync, writeSync } from 'node:fs';
import { messageOf, SkylineError } from '../protocol/errors.js';
import type { Config } from './config.js';
import { Daemon } from './daemon.js';
import { AlreadyRunningError } from './hand-off.js';
import { openLog } from './log.js';
import type { SpareWorkers } from './spare-workers.js';
import type { WorkerChild } from './worker-child.js';

/** Runs the daemon until it leaves. Tells whoever started it that it is ready, or why it is not. */
export async function run(config: Config, spares: SpareWorkers<WorkerChild>): Promise<void> {
  process.title = 'skylinedb-daemon';
  // Whoever started it may close its end: a log line must not end the daemon.
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', () => undefined);
  let daemon: Daemon;
  try {
    const log = openLog(config.stateDir, config.logLevel, process.stderr.isTTY === true);
    spares.onTrouble = (what) =>
      log.warn({ what: what instanceof Error ? messageOf(what) : what }, 'a spare worker did not last');
    daemon = new Daemon(config, spares, log, () => process.exit(0));
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

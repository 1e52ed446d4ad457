#!/usr/bin/env node
import { messageOf } from '../protocol/errors.js';
import { surroundings, VERSION } from '../protocol/transport/this-package.js';
import { type Config, DAEMON_HELP, parseConfig } from './config.js';
import { SpareWorkers } from './spare-workers.js';
import { WorkerChild } from './worker-child.js';

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
  const spares = new SpareWorkers(config.spareWorkers, () => new WorkerChild());
  // The first worker starts while the rest of the daemon is loaded: whoever starts a daemon waits for both.
  spares.fill();
  const { run } = await import('./run.js');
  await run(config, spares);
}

void main(process.argv.slice(2));

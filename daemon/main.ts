#!/usr/bin/env node
import { messageOf } from '../protocol/errors.js';
import { surroundings, VERSION } from '../protocol/transport/this-package.js';
import { type Config, loadConfig } from './config.js';
import { daemonHelp } from './help.js';
import { SpareWorkers } from './spare-workers.js';
import { WorkerChild } from './worker-child.js';

/** `skylinedb-daemon`: reads the command line, starts the daemon, and tells whoever waits. */
async function main(argv: readonly string[]): Promise<void> {
  if (argv.includes('--help') || argv.includes('-h')) {
    process.stdout.write(daemonHelp());
    return;
  }
  if (argv.includes('--version')) {
    process.stdout.write(`${VERSION}\n`);
    return;
  }
  let config: Config;
  try {
    config = await loadConfig(argv, surroundings(), process.cwd());
  } catch (error) {
    // Without a configuration there is no descriptor to report to but the usual one.
    process.stderr.write(`✗ Error: ${messageOf(error)}\n`);
    process.exitCode = 2;
    return;
  }
  if (argv.includes('--print-config')) {
    process.stdout.write(`${JSON.stringify(printable(config))}\n`);
    return;
  }
  const spares = new SpareWorkers(config.spareWorkers, () => new WorkerChild());
  // The first worker starts while the rest of the daemon is loaded: whoever starts a daemon waits for both.
  spares.fill();
  const { run } = await import('./run.js');
  await run(config, spares);
}

/** What `--print-config` says. */
function printable({ endpoint, dataDir, stateDir, files, effective }: Config): object {
  return { status: 'ok', endpoint, data_dir: dataDir, state_dir: stateDir, files, settings: effective };
}

void main(process.argv.slice(2));

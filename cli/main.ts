#!/usr/bin/env node
import { presentError } from './errors.js';
import { endBy } from './interruption.js';
import { Output, type Screen } from './output.js';
import { runCommandLine } from './program.js';

/** `skylinedb-cli`: one command per call. Ends by itself once everything is written. */
async function main(argv: readonly string[]): Promise<void> {
  const screen: Screen = {
    out: new Output(process.stdout, process.env),
    err: new Output(process.stderr, process.env),
  };
  // Looked for by hand: it must also hold for a command line that cannot be understood.
  let json = beforeDashes(argv).includes('--json');
  try {
    const { report, options } = await runCommandLine(argv);
    if (options !== undefined) json = options.json === true;
    if ('run' in report) {
      process.exitCode = await report.run(screen, json);
      return;
    }
    process.exitCode = report.exitCode ?? 0;
    await screen.out.write(json ? [...report.json(), '\n'] : []);
    if (!json) await report.human(screen);
  } catch (error) {
    const { exitCode, abandoned, signal } = await presentError(error, json, screen);
    process.exitCode = exitCode;
    if (signal !== undefined) endBy(signal);
    // A request that was given up may still hold a connection open. Everything is written by now.
    if (abandoned) process.exit();
  }
}

function beforeDashes(argv: readonly string[]): readonly string[] {
  const dashes = argv.indexOf('--');
  return dashes < 0 ? argv : argv.slice(0, dashes);
}

void main(process.argv.slice(2));

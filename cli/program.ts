import { Command, CommanderError } from 'commander';
import { VERSION } from '../protocol/version.js';
import { usageError } from './errors.js';
import { type CommonOptions, commonOptions, optionsOf } from './options.js';
import { type Report, replyReport, type Session } from './output.js';

/**
 * Gives a command its arguments and options.
 * @returns what it does, called once the command line has been read
 */
export type Define = (command: Command) => () => Promise<Report | Session>;

interface CommandEntry {
  readonly summary: string;
  /** Each command is loaded when it is called: most need little, and a command line is started often. */
  load(): Promise<{ readonly define: Define }>;
}

const COMMANDS: { readonly [name: string]: CommandEntry } = {
  ping: {
    summary: 'say whether a daemon runs, or where a database stands',
    load: () => import('./commands/ping.js'),
  },
  exec: {
    summary: 'run SQL statements as one transaction, through the daemon',
    load: () => import('./commands/exec.js'),
  },
  query: {
    summary: 'read a database file directly, without a daemon',
    load: () => import('./commands/query.js'),
  },
  import: {
    summary: 'load a CSV or NDJSON file into a table',
    load: () => import('./commands/import.js'),
  },
  shell: {
    summary: 'a shell for SQL, with history and completion',
    load: () => import('./commands/shell.js'),
  },
  'prepare-for-maintenance': {
    summary: 'finish what is queued, refuse new writes, checkpoint',
    load: () => import('./commands/prepare-for-maintenance.js'),
  },
  'close-database': {
    summary: 'close a database file until it is reopened',
    load: () => import('./commands/close-database.js'),
  },
  'reopen-database': {
    summary: 'end the maintenance of a database',
    load: () => import('./commands/reopen-database.js'),
  },
  'replace-database': {
    summary: "put a copy of a file in a database's place",
    load: () => import('./commands/replace-database.js'),
  },
  backup: {
    summary: 'copy a database while it is written',
    load: () => import('./commands/backup.js'),
  },
  checkpoint: {
    summary: 'bring the WAL into the database file',
    load: () => import('./commands/checkpoint.js'),
  },
  'create-database': {
    summary: 'make a database with a name',
    load: () => import('./commands/create-database.js'),
  },
  'drop-database': {
    summary: 'drop a database; it can be restored for 7 days',
    load: () => import('./commands/drop-database.js'),
  },
  'rename-database': {
    summary: 'give a database another name',
    load: () => import('./commands/rename-database.js'),
  },
  'restore-database': {
    summary: 'bring a dropped database back',
    load: () => import('./commands/restore-database.js'),
  },
  'configure-database': {
    summary: 'set what a database has differently from the daemon',
    load: () => import('./commands/configure-database.js'),
  },
  databases: {
    summary: 'list the databases that have a name',
    load: () => import('./commands/databases.js'),
  },
  adopt: {
    summary: 'give names to the SQLite files of a folder',
    load: () => import('./commands/adopt.js'),
  },
  status: {
    summary: 'figures of the daemon and its databases',
    load: () => import('./commands/status.js'),
  },
  watch: {
    summary: 'print every change of a database when it is committed',
    load: () => import('./commands/watch.js'),
  },
  top: {
    summary: 'what the daemon and its databases do now, live',
    load: () => import('./commands/top.js'),
  },
  metrics: {
    summary: "the daemon's figures for Prometheus",
    load: () => import('./commands/metrics.js'),
  },
  shutdown: {
    summary: 'end the daemon once everything it accepted is finished',
    load: () => import('./commands/shutdown.js'),
  },
  config: {
    summary: 'print what is set, and where each value comes from',
    load: () => import('./commands/config.js'),
  },
  endpoint: {
    summary: 'print where the daemon listens',
    load: () => import('./commands/endpoint.js'),
  },
};

const AFTER_HELP = `
Exit codes:
  0 done, 1 the database refused, 2 wrong usage, 3 no daemon, 4 closed for maintenance

Commands that act on a database start the daemon if none runs; ping, query, status, watch, top, metrics,
shutdown, config and endpoint do not.

Examples:
  skylinedb-cli exec --db stars.db "CREATE TABLE stars (id INTEGER PRIMARY KEY, name TEXT)"
  skylinedb-cli exec --db stars.db "INSERT INTO stars (name) VALUES (?)" --param Sirius
  skylinedb-cli query --db stars.db "SELECT * FROM stars"
  skylinedb-cli exec --help`;

/**
 * Reads the command line and does what it says.
 * @returns the options too, unless it only asked for help or the version
 * @throws SkylineError `INVALID_REQUEST` for wrong usage, and whatever the command throws
 */
export async function runCommandLine(
  argv: readonly string[],
): Promise<{ report: Report | Session; options: CommonOptions | undefined }> {
  const program = new Command('skylinedb-cli');
  let printed = '';
  let report: Report | Session | undefined;
  let called: Command = program;

  commonOptions(program, 'how long to wait, such as 5s or 250ms; what for depends on the command')
    .description('Works with SQLite databases through the SkylineDB daemon.')
    .version(VERSION, '--version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    .addHelpText('after', AFTER_HELP)
    // Options behind the command are the command's own, so that "--param --json" is a value.
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ writeOut: (text) => (printed += text), writeErr: () => undefined })
    .hook('preSubcommand', async (_program, command) => {
      called = command;
      const { define } = await entry(command.name()).load();
      const run = define(command);
      command.action(async () => {
        report = await run();
      });
    });
  for (const [name, { summary }] of Object.entries(COMMANDS))
    program
      .command(name)
      .summary(summary)
      .description(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`);

  try {
    await program.parseAsync(withHelpCommand(argv), { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0) throw usageError(explain(error, called));
    // Commander stopped reading there: it does not know the other options.
    return { report: printedReport(error, printed), options: undefined };
  }
  if (report === undefined) throw new Error('the command said nothing');
  return { report, options: optionsOf(called) };
}

function entry(name: string): CommandEntry {
  const found = COMMANDS[name];
  if (found === undefined) throw new Error(`no such command: ${name}`);
  return found;
}

/** Commander's own `help NAME` would print the help of a command that is not loaded yet. */
function withHelpCommand(argv: readonly string[]): string[] {
  const [first, ...rest] = argv;
  return first === 'help' ? [...rest, '--help'] : [...argv];
}

function printedReport(error: CommanderError, printed: string): Report {
  const fields =
    error.code === 'commander.version'
      ? { status: 'ok', version: printed.trim() }
      : { status: 'ok', help: printed };
  return replyReport(fields, ({ out }) => out.write(printed));
}

/** Commander's message in our form: what is wrong, what was perhaps meant, where to read on. */
function explain(error: CommanderError, command: Command): string {
  const name = command.parent === null ? command.name() : `${command.parent.name()} ${command.name()}`;
  const see = `See "${name} --help".`;
  if (error.code === 'commander.help')
    return `No command was given. There are ${Object.keys(COMMANDS).join(', ')}. ${see}`;
  const [what = '', meant] = error.message.replace(/^error: /, '').split(/\n(?=\(Did you mean)/);
  const sentence = `${what.charAt(0).toUpperCase()}${what.slice(1)}${what.endsWith('.') ? '' : '.'}`;
  return [sentence, meant?.slice(1, -1), see].filter((part) => part !== undefined).join(' ');
}

import { join } from 'node:path';
import { stateFolder } from '../../protocol/endpoint.js';
import { surroundings } from '../../protocol/transport/this-package.js';
import { commonOptions, type DatabaseOptions, databaseOption, optionsOf, wordOption } from '../options.js';
import type { Screen, Session } from '../output.js';
import type { Define } from '../program.js';
import { History } from '../shell/history.js';
import { interactive } from '../shell/interactive.js';
import { piped } from '../shell/piped.js';
import { placeOf } from '../shell/place.js';
import { MODES, type Mode } from '../shell/printer.js';
import { Shell } from '../shell/shell.js';

interface ShellCommandOptions extends DatabaseOptions {
  readonly mode?: Mode;
}

const HISTORY = 'shell-history';

export const define: Define = (command) => {
  commonOptions(databaseOption(command), 'has no effect: Ctrl-C stops a statement')
    .description('A shell for SQL. What only reads is read from the file; all else goes through the daemon.')
    .addOption(
      wordOption('--mode <MODE>', 'how rows are shown (default: table on a terminal, else tabs)', MODES),
    )
    .addHelpText(
      'after',
      `
In the shell, .help lists its commands. Without a terminal it runs what comes from standard input, up to the first error.
--json is --mode json.

Examples:
  skylinedb-cli shell --db stars.db
  echo "select count(*) from stars;" | skylinedb-cli shell --db stars.db
  skylinedb-cli shell --db stars.db --mode csv < report.sql > report.csv`,
    );
  return () => {
    const options = optionsOf<ShellCommandOptions>(command);
    return Promise.resolve<Session>({ run: (screen, json) => run(options, screen, json) });
  };
};

async function run(options: ShellCommandOptions, screen: Screen, json: boolean): Promise<number> {
  const { mode = json ? 'json' : screen.out.isTerminal ? 'table' : 'tabs', socket } = options;
  const talks = process.stdin.isTTY === true && screen.out.isTerminal;
  const shell = new Shell({
    screen,
    interactive: talks,
    mode,
    connect: async () => {
      const { connect } = await import('../../client/client.js');
      // Past the router nothing that runs can be stopped.
      const terms = { name: 'skylinedb-cli shell', direct: false };
      return await connect({ ...(socket === undefined ? {} : { socket }), ...terms });
    },
  });
  try {
    shell.place = await placeOf(options.db, () => shell.client());
    if (!talks) return await piped(shell, process.stdin);
    shell.prepare();
    return await interactive(shell, new History(join(stateFolder(surroundings()), HISTORY)));
  } finally {
    await shell.close();
  }
}

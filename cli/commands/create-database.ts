import { type CommonOptions, collect, commonOptions, optionsOf } from '../options.js';
import { details, done, replyReport } from '../output.js';
import type { Define } from '../program.js';
import { withClient } from '../session.js';
import { parseSettings, SETTINGS_HELP } from '../settings.js';

interface CreateOptions extends CommonOptions {
  readonly ifNotExists?: boolean;
  readonly set?: readonly string[];
}

export const define: Define = (command) => {
  commonOptions(
    command.argument('<NAME>', '1 to 63 letters, digits, "_" and "-"'),
    'how long to wait for the answer (default: for ever)',
  )
    .description('Makes a database with a name, in the data directory of the daemon.')
    .option('--if-not-exists', 'leave one that is there as it is')
    .option('--set <KEY=VALUE>', 'a setting of this database (repeatable)', collect)
    .addHelpText(
      'after',
      `
From then on --db NAME means this database, from every folder.

${SETTINGS_HELP}

Examples:
  skylinedb-cli create-database stars
  skylinedb-cli create-database ledger --if-not-exists --set durability=full
  skylinedb-cli exec --db stars "CREATE TABLE stars (id INTEGER PRIMARY KEY, name TEXT)"`,
    );
  return async () => {
    const options = optionsOf<CreateOptions>(command);
    const [name = ''] = command.args;
    const { settings } = parseSettings(options.set ?? []);
    const { ifNotExists = false, timeout: waitMs } = options;
    const reply = await withClient(options, { start: true, waitMs }, (client) =>
      client.createDatabase(name, { ifNotExists, settings }),
    );
    return replyReport(reply, async ({ out }) => {
      await out.line(
        done(out, reply.created ? `Created database: ${reply.name}` : `Database exists: ${reply.name}`),
      );
      await out.write(details(out, [['file', reply.db_path]]));
    });
  };
};

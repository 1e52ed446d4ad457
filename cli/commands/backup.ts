import { bytes, count } from '../format.js';
import { commonOptions, type DatabaseOptions, databaseOption, optionsOf } from '../options.js';
import { details, done, replyReport } from '../output.js';
import type { Define } from '../program.js';
import { withProgress } from '../progress.js';
import { withClient } from '../session.js';

interface BackupOptions extends DatabaseOptions {
  readonly overwrite?: boolean;
}

export const define: Define = (command) => {
  commonOptions(
    databaseOption(command).argument('<FILE>', 'where the copy goes'),
    'how long to wait for the answer (default: for ever)',
  )
    .description('Copies a database to FILE while it goes on being written.')
    .option('--overwrite', 'replace FILE if it exists')
    .addHelpText(
      'after',
      `
The copy is a whole database of one moment, in one file.

Examples:
  skylinedb-cli backup --db stars.db stars-monday.db
  skylinedb-cli backup --db stars.db /mnt/stick/stars.db --overwrite`,
    );
  return async () => {
    const options = optionsOf<BackupOptions>(command);
    const { db, overwrite = false, timeout: waitMs } = options;
    const [file = ''] = command.args;
    const reply = await withClient(options, { start: true, waitMs }, (client) =>
      withProgress('Copying', options.json === true, (listening) =>
        client.database(db).backup(file, { overwrite, ...listening }),
      ),
    );
    return replyReport(reply, async ({ out }) => {
      await out.line(done(out, `Backed up database: ${db}`));
      await out.write(
        details(out, [
          ['copy', file],
          ['size', `${bytes(reply.bytes)} in ${count(reply.pages, 'page')}`],
        ]),
      );
    });
  };
};

import { commonOptions, type DatabaseOptions, databaseOption, optionsOf } from '../options.js';
import { details, done, replyReport } from '../output.js';
import type { Define } from '../program.js';
import { withProgress } from '../progress.js';
import { withClient } from '../session.js';

export const define: Define = (command) => {
  commonOptions(
    databaseOption(command).argument('<FILE>', 'the file with the new contents; it is copied, not moved'),
    'the time for readers and queued batches to finish (default: 5s)',
  )
    .description(
      "Checks FILE and puts a copy of it in the database's place, in one step for everybody. The old file is kept.",
    )
    .addHelpText(
      'after',
      `
If anything fails, the database is as it was. Its epoch goes up by one.

Examples:
  skylinedb-cli replace-database --db stars.db new-stars.db
  skylinedb-cli replace-database --db stars.db new-stars.db --timeout 30s`,
    );
  return async () => {
    const options = optionsOf<DatabaseOptions>(command);
    const { db, timeout } = options;
    const [file = ''] = command.args;
    const reply = await withClient(options, { start: true }, (client) =>
      withProgress('Replacing', options.json === true, (listening) =>
        client
          .database(db)
          .replace(file, { ...listening, ...(timeout === undefined ? {} : { timeoutMs: timeout }) }),
      ),
    );
    return replyReport(reply, async ({ out }) => {
      await out.line(done(out, `Replaced database: ${db}`));
      await out.write(
        details(out, [
          ['old file', reply.backup],
          ['rev', String(reply.rev)],
          ['epoch', String(reply.epoch)],
        ]),
      );
    });
  };
};

import { commonOptions, type DatabaseOptions, databaseOption, optionsOf } from '../options.js';
import { details, done, replyReport } from '../output.js';
import type { Define } from '../program.js';
import { withClient } from '../session.js';

interface ReopenOptions extends DatabaseOptions {
  readonly allowMissing?: boolean;
}

export const define: Define = (command) => {
  commonOptions(databaseOption(command), 'how long to wait for the answer (default: for ever)')
    .description('Ends the maintenance of a database. A file that is damaged or no database stays closed.')
    .option('--allow-missing', 'the file is gone for good: the next write makes a new one')
    .addHelpText(
      'after',
      `
A database that was open already is no error.

Examples:
  skylinedb-cli reopen-database --db stars.db
  skylinedb-cli reopen-database --db stars.db --allow-missing`,
    );
  return async () => {
    const options = optionsOf<ReopenOptions>(command);
    const { db, allowMissing = false, timeout: waitMs } = options;
    const reply = await withClient(options, { start: true, waitMs }, (client) =>
      client.database(db).reopen({ allowMissing }),
    );
    return replyReport(reply, async ({ out }) => {
      await out.line(done(out, `${reply.reopened ? 'Open again' : 'Open already'}: ${db}`));
      if (out.isTerminal)
        await out.write(
          details(out, [
            ['rev', String(reply.rev)],
            ['epoch', String(reply.epoch)],
          ]),
        );
    });
  };
};

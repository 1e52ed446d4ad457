import { commonOptions, type DatabaseOptions, databaseOption, optionsOf } from '../options.js';
import { done, replyReport } from '../output.js';
import type { Define } from '../program.js';
import { withClient } from '../session.js';

export const define: Define = (command) => {
  commonOptions(databaseOption(command), 'the time for readers and queued batches to finish (default: 5s)')
    .description(
      'Closes a database for everybody until reopen-database, across restarts of the daemon. Afterwards the file may be copied, changed or replaced.',
    )
    .addHelpText(
      'after',
      `
If a reader stays longer than the time, the command fails, names it, and the database is open again.

Examples:
  skylinedb-cli close-database --db stars.db && cp stars.db /mnt/stick/ ; skylinedb-cli reopen-database --db stars.db
  skylinedb-cli close-database --db stars.db --timeout 1m`,
    );
  return async () => {
    const options = optionsOf<DatabaseOptions>(command);
    const { db, timeout } = options;
    await withClient(options, { start: true }, (client) =>
      client.database(db).close(timeout === undefined ? {} : { timeoutMs: timeout }),
    );
    return replyReport({ status: 'ok', closed: true }, ({ out }) =>
      out.line(done(out, `Closed for maintenance: ${db}`)),
    );
  };
};

import { commonOptions, type DatabaseOptions, databaseOption, optionsOf } from '../options.js';
import { done, replyReport } from '../output.js';
import type { Define } from '../program.js';
import { withClient } from '../session.js';

export const define: Define = (command) => {
  commonOptions(databaseOption(command), 'the time for readers and queued batches to finish (default: 5s)')
    .description(
      'Finishes what is queued, refuses new writes, and brings the whole WAL into the file. The daemon keeps the file open.',
    )
    .addHelpText(
      'after',
      `
Writes are refused (exit code 4) until reopen-database. If a reader stays longer than the time, the command fails, names
it, and the database is open again. To move or change the file, use close-database.

Examples:
  skylinedb-cli prepare-for-maintenance --db stars.db
  skylinedb-cli prepare-for-maintenance --db stars.db --timeout 30s`,
    );
  return async () => {
    const options = optionsOf<DatabaseOptions>(command);
    const { db, timeout } = options;
    await withClient(options, { start: true }, (client) =>
      client.database(db).prepare(timeout === undefined ? {} : { timeoutMs: timeout }),
    );
    return replyReport({ status: 'ok', checkpointed: true }, ({ out }) =>
      out.line(done(out, `Prepared for maintenance: ${db}`)),
    );
  };
};

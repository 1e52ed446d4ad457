import { type CommonOptions, commonOptions, optionsOf } from '../options.js';
import { details, done, replyReport } from '../output.js';
import type { Define } from '../program.js';
import { withClient } from '../session.js';

interface DropOptions extends CommonOptions {
  readonly ifExists?: boolean;
  readonly force?: boolean;
}

export const define: Define = (command) => {
  commonOptions(
    command.argument('<NAME>', 'the database'),
    'the time for readers and queued batches to finish (default: 5s)',
  )
    .description('Drops a database. For 7 days restore-database brings it back.')
    .option('--if-exists', 'a database that is not there is no error')
    .option('--force', 'end what can be ended of those who use it, instead of refusing')
    .addHelpText(
      'after',
      `
While somebody uses the database the command refuses, and says who. The file goes to skylinedb-trash in the data directory;
one that was adopted from another folder stays where it is, and only its name ends.

Examples:
  skylinedb-cli drop-database stars
  skylinedb-cli drop-database stars --if-exists --force`,
    );
  return async () => {
    const options = optionsOf<DropOptions>(command);
    const [name = ''] = command.args;
    const { ifExists = false, force = false, timeout } = options;
    const reply = await withClient(options, { start: true }, (client) =>
      client.dropDatabase(name, {
        ifExists,
        force,
        ...(timeout === undefined ? {} : { timeoutMs: timeout }),
      }),
    );
    return replyReport(reply, async ({ out }) => {
      await out.line(done(out, reply.dropped ? `Dropped database: ${name}` : `No such database: ${name}`));
      const kept: [string, string][] = reply.file_kept === undefined ? [] : [['file stays', reply.file_kept]];
      const until: [string, string][] =
        reply.until === undefined ? [] : [['restore until', reply.until.slice(0, 10)]];
      await out.write(details(out, [...kept, ...until]));
    });
  };
};

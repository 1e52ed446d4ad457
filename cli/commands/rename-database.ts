import { type CommonOptions, commonOptions, optionsOf } from '../options.js';
import { details, done, replyReport } from '../output.js';
import type { Define } from '../program.js';
import { withClient } from '../session.js';

interface RenameOptions extends CommonOptions {
  readonly force?: boolean;
}

export const define: Define = (command) => {
  commonOptions(
    command.argument('<NAME>', 'the database').argument('<TO>', 'its new name'),
    'the time for readers and queued batches to finish (default: 5s)',
  )
    .description('Gives a database another name. It keeps its rev and epoch.')
    .option('--force', 'end what can be ended of those who use it, instead of refusing')
    .addHelpText(
      'after',
      `
While somebody uses the database the command refuses, and says who. A file NAME.db in the data directory becomes TO.db.

Examples:
  skylinedb-cli rename-database stars suns
  skylinedb-cli rename-database stars suns --force --timeout 30s`,
    );
  return async () => {
    const options = optionsOf<RenameOptions>(command);
    const [name = '', to = ''] = command.args;
    const { force = false, timeout } = options;
    const reply = await withClient(options, { start: true }, (client) =>
      client.renameDatabase(name, to, { force, ...(timeout === undefined ? {} : { timeoutMs: timeout }) }),
    );
    return replyReport(reply, async ({ out }) => {
      await out.line(done(out, `Renamed database: ${name} is ${reply.name}`));
      await out.write(
        details(out, [
          ['file', reply.db_path],
          ['rev', String(reply.rev)],
          ['epoch', String(reply.epoch)],
        ]),
      );
    });
  };
};

import { type CommonOptions, commonOptions, optionsOf } from '../options.js';
import { details, done, replyReport } from '../output.js';
import type { Define } from '../program.js';
import { withClient } from '../session.js';

interface RestoreOptions extends CommonOptions {
  readonly as?: string;
}

export const define: Define = (command) => {
  commonOptions(
    command.argument('<NAME>', 'the name that it was dropped under'),
    'how long to wait for the answer (default: for ever)',
  )
    .description(
      'Brings back a database that was dropped in the last 7 days; of several, the one dropped last.',
    )
    .option('--as <NAME>', 'another name for it')
    .addHelpText(
      'after',
      `
"skylinedb-cli databases --dropped" lists what can be restored.

Examples:
  skylinedb-cli restore-database stars
  skylinedb-cli restore-database stars --as stars-monday`,
    );
  return async () => {
    const options = optionsOf<RestoreOptions>(command);
    const [name = ''] = command.args;
    const { as, timeout: waitMs } = options;
    const reply = await withClient(options, { start: true, waitMs }, (client) =>
      client.restoreDatabase(name, as === undefined ? {} : { as }),
    );
    return replyReport(reply, async ({ out }) => {
      await out.line(done(out, `Restored database: ${reply.name}`));
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

import type { CheckpointMode } from '../../protocol/messages.js';
import { EXIT } from '../errors.js';
import { count } from '../format.js';
import { commonOptions, type DatabaseOptions, databaseOption, optionsOf, wordOption } from '../options.js';
import { done, type Report, replyReport } from '../output.js';
import type { Define } from '../program.js';
import { withClient } from '../session.js';

interface CheckpointOptions extends DatabaseOptions {
  readonly mode?: CheckpointMode;
}

const MODES: readonly CheckpointMode[] = ['passive', 'full', 'restart', 'truncate'];

export const define: Define = (command) => {
  commonOptions(databaseOption(command), 'how long to wait for the answer (default: for ever)')
    .description(
      'Brings the WAL into the database file. The daemon does so by itself; this is for who cannot wait.',
    )
    .addOption(wordOption('--mode <MODE>', "SQLite's mode (default: passive)", MODES))
    .addHelpText(
      'after',
      `
passive does what it can without waiting for anybody; truncate also empties the WAL. If a reader or another program kept
the checkpoint from finishing, the exit code is 1.

Examples:
  skylinedb-cli checkpoint --db stars.db
  skylinedb-cli checkpoint --db stars.db --mode truncate`,
    );
  return () => checkpoint(optionsOf<CheckpointOptions>(command));
};

async function checkpoint(options: CheckpointOptions): Promise<Report> {
  const { db, mode = 'passive', timeout: waitMs } = options;
  const reply = await withClient(options, { start: true, waitMs }, (client) =>
    client.database(db).checkpoint(mode),
  );
  const frames = `${reply.checkpointed} of ${count(reply.log, 'frame')} of the WAL are in the file`;
  const report = replyReport(reply, async ({ out, err }) => {
    if (reply.busy) {
      const { red } = err.colors;
      const why = `The checkpoint of ${db} could not finish: a reader or another program is in the way. Try again when it is gone.`;
      await err.line(`${red('✗')} ${red('Error:')} ${why}`);
    } else await out.line(done(out, `Checkpoint done on database: ${db}`));
    if (!reply.busy && out.isTerminal) await out.line(`  ${frames}`);
  });
  return reply.busy ? { ...report, exitCode: EXIT.refused } : report;
}

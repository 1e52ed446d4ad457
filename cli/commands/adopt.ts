import { count } from '../format.js';
import { type CommonOptions, commonOptions, optionsOf } from '../options.js';
import { done, replyReport, visible } from '../output.js';
import type { Define } from '../program.js';
import { withAdoptProgress } from '../progress.js';
import { withClient } from '../session.js';

export const define: Define = (command) => {
  commonOptions(
    command.argument('<DIR>', 'the folder'),
    'how long to wait for the answer (default: for ever)',
  )
    .description('Gives names to the SQLite files of a folder. None of them is changed or moved.')
    .addHelpText(
      'after',
      `
A file's name is its own without the extension, with "_" for what a name cannot have. What is no database, or whose name is
taken, is skipped and told. Done again, it adopts what is new.

Examples:
  skylinedb-cli adopt ~/data
  skylinedb-cli adopt . --json | jq '.skipped'`,
    );
  return async () => {
    const options = optionsOf<CommonOptions>(command);
    const [dir = ''] = command.args;
    const reply = await withClient(options, { start: true, waitMs: options.timeout }, (client) =>
      withAdoptProgress(options.json === true, (listening) => client.adopt(dir, listening)),
    );
    return replyReport(reply, async ({ out, err }) => {
      await out.line(done(out, `Adopted ${count(reply.adopted.length, 'database')} of ${dir}`));
      for (const { name, db_path: file } of reply.adopted) await out.line(`  ${name}  ${visible(file)}`);
      for (const { file, reason } of reply.skipped)
        await err.line(`  skipped ${visible(file)}: ${visible(reason)}`);
    });
  };
};

import { SkylineError } from '../../protocol/errors.js';
import { type CommonOptions, commonOptions, optionsOf } from '../options.js';
import { done, replyReport } from '../output.js';
import type { Define } from '../program.js';
import { withClient } from '../session.js';

export const define: Define = (command) => {
  commonOptions(command, 'how long to wait for the daemon (default: for ever)')
    .description(
      'Ends the daemon once everything that it has accepted is finished. The next write starts a new one.',
    )
    .addHelpText(
      'after',
      `
With no daemon running the exit code is 3.

Examples:
  skylinedb-cli shutdown
  skylinedb-cli shutdown --socket /run/user/1000/other/v1.sock`,
    );
  return async () => {
    const options = optionsOf<CommonOptions>(command);
    await withClient(options, { start: false, waitMs: options.timeout }, (client) => client.shutdown()).catch(
      (error: unknown) => {
        throw withoutAdvice(error);
      },
    );
    return replyReport({ status: 'ok' }, ({ out }) => out.line(done(out, 'Daemon has shut down')));
  };
};

/** The library advises to start a daemon: nobody who wants to end one needs that. */
function withoutAdvice(error: unknown): unknown {
  if (!(error instanceof SkylineError) || !/^No daemon is running .*\. Start one/s.test(error.message))
    return error;
  const what = error.message.replace(/\. Start one.*$/s, ': there is nothing to shut down.');
  return new SkylineError('NO_DAEMON', what, { cause: error });
}

import { checkOptions } from '../../client/options.js';
import { type CommonOptions, commonOptions, optionsOf } from '../options.js';
import { replyReport } from '../output.js';
import type { Define } from '../program.js';

export const define: Define = (command) => {
  commonOptions(command, 'has no effect: nothing is waited for')
    .description(
      'Prints where the daemon listens, or would: the path of its socket, or the name of its pipe.',
    )
    .addHelpText(
      'after',
      `
Examples:
  skylinedb-cli endpoint
  ls -l "$(skylinedb-cli endpoint)"`,
    );
  return async () => {
    const { socket } = optionsOf<CommonOptions>(command);
    const { endpoint } = checkOptions(socket === undefined ? {} : { socket });
    return replyReport({ status: 'ok', endpoint }, ({ out }) => out.line(endpoint));
  };
};

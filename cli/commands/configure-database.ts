import { type CommonOptions, commonOptions, optionsOf } from '../options.js';
import { details, done, replyReport } from '../output.js';
import type { Define } from '../program.js';
import { withClient } from '../session.js';
import { parseSettings, SETTINGS_HELP, settingText } from '../settings.js';

export const define: Define = (command) => {
  commonOptions(
    command
      .argument('<NAME>', 'the database')
      .argument('[KEY=VALUE...]', 'what to set; KEY=default for what the daemon has'),
    'how long to wait for the answer (default: for ever)',
  )
    .description('Sets what a database has differently from the daemon; without KEY=VALUE, prints it.')
    .addHelpText(
      'after',
      `
A database that nobody is at work in has its settings at once, any other when its file is next opened.

${SETTINGS_HELP}

Examples:
  skylinedb-cli configure-database stars durability=full wal_limit=16MB
  skylinedb-cli configure-database stars durability=default`,
    );
  return async () => {
    const options = optionsOf<CommonOptions>(command);
    const [name = '', ...texts] = command.args;
    const { settings, reset } = parseSettings(texts);
    const reply = await withClient(options, { start: true, waitMs: options.timeout }, (client) =>
      client.configureDatabase(name, settings, { reset }),
    );
    return replyReport(reply, async ({ out }) => {
      const when =
        reply.in_effect || texts.length === 0 ? '' : ', from the next time that its file is opened';
      await out.line(done(out, `Settings of database: ${reply.name}${when}`));
      const pairs = Object.entries(reply.settings).map(([key, value]) =>
        settingText(key, value).split('=', 2),
      );
      await out.write(details(out, pairs as [string, string][]));
    });
  };
};

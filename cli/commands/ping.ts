import type { PingDatabaseReply } from '../../protocol/messages.js';
import { span } from '../format.js';
import { type CommonOptions, commonOptions, optionalDatabaseOption, optionsOf } from '../options.js';
import { details, done, type Report, replyReport } from '../output.js';
import type { Define } from '../program.js';
import { withClient } from '../session.js';

interface PingOptions extends CommonOptions {
  readonly db?: string;
}

/** An answer to "is it alive?" must come even from a daemon that hangs. */
const DEFAULT_WAIT_MS = 10_000;

export const define: Define = (command) => {
  commonOptions(
    optionalDatabaseOption(command, 'also say where this database stands'),
    'how long to wait for the answer (default: 10s)',
  )
    .description(
      'Says whether a daemon runs, or where a database stands. Starts no daemon and creates no file.',
    )
    .addHelpText(
      'after',
      `
With --db, FILE is looked up by the daemon: does it exist, its state (open, preparing, closed), its rev and epoch.

Examples:
  skylinedb-cli ping
  skylinedb-cli ping --db stars.db
  skylinedb-cli ping --json || skylinedb-daemon &`,
    );
  return () => ping(optionsOf<PingOptions>(command));
};

function ping(options: PingOptions): Promise<Report> {
  const { db, timeout: waitMs = DEFAULT_WAIT_MS } = options;
  return withClient(options, { start: false, waitMs }, async (client): Promise<Report> => {
    if (db === undefined) {
      const reply = await client.ping();
      return running(reply, [
        ['version', reply.version],
        ['pid', String(reply.pid)],
        ['uptime', span(reply.uptime_ms)],
        ['endpoint', client.endpoint],
      ]);
    }
    const reply = await client.database(db).ping();
    return running(reply, [['version', reply.version], ['endpoint', client.endpoint], ...standing(reply)]);
  });
}

function standing(reply: PingDatabaseReply): [string, string][] {
  return [
    ['database', reply.db_path],
    ['exists', reply.exists ? 'yes' : 'no'],
    ['state', reply.state],
    ['rev', String(reply.rev)],
    ['epoch', String(reply.epoch)],
  ];
}

function running(reply: object, lines: readonly (readonly [string, string])[]): Report {
  return replyReport(reply, async ({ out }) => {
    await out.line(done(out, 'Daemon is running'));
    await out.write(details(out, lines));
  });
}

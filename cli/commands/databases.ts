import type { ListDatabasesReply } from '../../protocol/messages.js';
import { bytes } from '../format.js';
import { type CommonOptions, commonOptions, optionsOf } from '../options.js';
import { type Output, replyReport, visible } from '../output.js';
import type { Define } from '../program.js';
import { withClient } from '../session.js';
import { settingText } from '../settings.js';

interface DatabasesOptions extends CommonOptions {
  readonly dropped?: boolean;
}

const DEFAULT_WAIT_MS = 10_000;

export const define: Define = (command) => {
  commonOptions(command, 'how long to wait for the answer (default: 10s)')
    .description('Lists the databases that have a name.')
    .option('--dropped', 'list those that can be restored instead')
    .addHelpText(
      'after',
      `
Examples:
  skylinedb-cli databases
  skylinedb-cli databases --json | jq -r '.databases[].name'`,
    );
  return async () => {
    const options = optionsOf<DatabasesOptions>(command);
    const { dropped = false, timeout: waitMs = DEFAULT_WAIT_MS } = options;
    const reply = await withClient(options, { start: true, waitMs }, (client) => client.databases());
    return replyReport(reply, async ({ out }) => {
      if (dropped) await out.line(await droppedTable(out, reply));
      else await out.line(await liveTable(out, reply));
    });
  };
};

async function liveTable(out: Output, { databases, data_dir: dir }: ListDatabasesReply): Promise<string> {
  if (databases.length === 0)
    return `No database of ${visible(dir)} has a name. Make one with "skylinedb-cli create-database NAME".`;
  return await table(
    out,
    ['name', 'size', 'last used', 'created', 'owner', 'settings', 'file'],
    databases.map((one) => [
      one.name,
      one.size === null ? 'missing' : bytes(one.size),
      one.last_used === null ? '-' : minute(one.last_used),
      minute(one.created),
      visible(one.owner),
      Object.entries(one.settings)
        .map(([key, value]) => settingText(key, value))
        .join(' '),
      visible(one.db_path),
    ]),
  );
}

async function droppedTable(out: Output, { dropped }: ListDatabasesReply): Promise<string> {
  if (dropped.length === 0) return 'No database was dropped in the last 7 days.';
  return await table(
    out,
    ['name', 'size', 'dropped', 'kept until'],
    dropped.map((one) => [
      one.name,
      one.size === null ? 'missing' : bytes(one.size),
      minute(one.dropped),
      minute(one.until),
    ]),
  );
}

/** `2026-07-30 14:05`, in the user's time zone. */
function minute(time: string): string {
  const date = new Date(time);
  const two = (value: number) => String(value).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

async function table(out: Output, head: readonly string[], rows: readonly string[][]): Promise<string> {
  const { default: Table } = await import('cli-table3');
  const drawn = new Table({
    head: head.map((text) => out.colors.bold(text)),
    colAligns: head.map((text) => (text === 'size' ? 'right' : 'left')),
    style: { head: [], border: [], compact: true },
  });
  drawn.push(...rows);
  return drawn.toString();
}

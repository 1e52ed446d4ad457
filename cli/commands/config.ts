import { execFile } from 'node:child_process';
import { checkOptions } from '../../client/options.js';
import { daemonCommand } from '../../client/spawn.js';
import { SkylineError } from '../../protocol/errors.js';
import { asArray, asObject, asString, field } from '../../protocol/fields.js';
import { decodeText, type JsonObject, parseObject } from '../../protocol/frame.js';
import { usageError } from '../errors.js';
import { type CommonOptions, commonOptions, optionsOf } from '../options.js';
import { details, done, type Output, replyReport, visible } from '../output.js';
import type { Define } from '../program.js';

const DEFAULT_WAIT_MS = 10_000;

export const define: Define = (command) => {
  commonOptions(command, "how long to wait for the daemon's program (default: 10s)")
    .description(
      'Prints what a daemon that a client started now would use, and where each value comes from. Starts no daemon.',
    )
    .addHelpText(
      'after',
      `
What counts, in this order: options of skylinedb-daemon, variables (SKYLINEDB_WAL_LIMIT), skylinedb.toml in the data
directory, then in the state folder, defaults. A daemon reads them once, when it starts.

Examples:
  skylinedb-cli config
  skylinedb-cli config --json | jq -r '.settings[] | select(.source != "default") | .where'`,
    );
  return async () => {
    const { socket, timeout = DEFAULT_WAIT_MS } = optionsOf<CommonOptions>(command);
    const reply = await askProgram(checkOptions(socket === undefined ? {} : { socket }), timeout);
    return replyReport(reply, async ({ out }) => {
      await out.line(done(out, 'What a daemon that starts now would use'));
      await out.write(places(out, reply));
      await out.line(await table(out, reply));
    });
  };
};

/** The daemon's own program reads its configuration, and nothing else of it is done. */
function askProgram(options: ReturnType<typeof checkOptions>, timeoutMs: number): Promise<JsonObject> {
  const { args, cwd, env } = daemonCommand(options, ['--print-config']);
  return new Promise((resolve, reject) => {
    const settings = { cwd, env, timeout: timeoutMs, windowsHide: true, encoding: 'buffer' as const };
    execFile(process.execPath, args, settings, (error, stdout, stderr) => {
      if (error === null) return resolve(parseObject(decodeText(stdout)));
      const said = stderr
        .toString('utf8')
        .trim()
        .replace(/^✗ Error: /, '');
      if (error.killed === true)
        reject(new SkylineError('TIMEOUT', `The daemon's program did not answer within ${timeoutMs} ms.`));
      else if (error.code === 2) reject(usageError(said));
      else
        reject(new SkylineError('NO_DAEMON', `The daemon's program cannot be run: ${said || error.message}`));
    });
  });
}

function places(out: Output, reply: JsonObject): string {
  const files = asArray(field(reply, 'files'), 'files').map((path) => asString(path, 'files'));
  return details(out, [
    ['endpoint', text(reply, 'endpoint')],
    ['data', text(reply, 'data_dir')],
    ['state', text(reply, 'state_dir')],
    ['files', files.length === 0 ? 'none' : files.join(', ')],
  ]);
}

async function table(out: Output, reply: JsonObject): Promise<string> {
  const { default: Table } = await import('cli-table3');
  const drawn = new Table({
    head: ['setting', 'value', 'from'].map((head) => out.colors.bold(head)),
    style: { head: [], border: [], compact: true },
  });
  for (const setting of asArray(field(reply, 'settings'), 'settings')) {
    const one = asObject(setting, 'settings');
    const where = text(one, 'where');
    drawn.push([text(one, 'name'), visible(text(one, 'value')), visible(where === '' ? 'default' : where)]);
  }
  return drawn.toString();
}

function text(object: JsonObject, name: string): string {
  return asString(field(object, name), name);
}

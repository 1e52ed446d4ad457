import { CONFIG_FILE } from './config-file.js';
import { fallbackOf, flagOf, SETTING_NAMES, SETTINGS, type Setting, type SettingName } from './settings.js';

/** Columns of the help: where the text begins, and where it ends. */
const HELP_TEXT = 30;
const HELP_WIDTH = 118;

/** What `--help` prints. */
export function daemonHelp(): string {
  return `Usage: skylinedb-daemon [options] [DIR]

Serves SQLite databases to many processes. Clients start it by themselves; start it by hand to see its log.
DIR is the data directory, where relative database names belong (default: SKYLINEDB_DATA_DIR, else this folder).

Options:
${[
  ['--socket PATH', "where to listen (default: SKYLINEDB_SOCKET, else the user's own place)"],
  ...SETTING_NAMES.map(settingHelp),
  ['--hand-off', 'ask an older daemon that runs to leave, and take its place'],
  ['--ready-fd N', 'say on descriptor N, in one line of JSON, that the daemon is ready or why it is not'],
  ['--print-config', 'print, as JSON, what holds and where each value comes from'],
]
  .map(([option = '', text = '']) => helpLine(option, text))
  .join('\n')}
  --version, --help

TIME is 7d, 5m, 30s or 250ms, SIZE is 64MB or 512KB. An option with a default can also be a variable
(SKYLINEDB_WAL_LIMIT=64MB), or a line of ${CONFIG_FILE} in the data directory or the state folder
(wal_limit = "64MB"): docs/configuration.md.

Example: skylinedb-daemon --durability full --root ~/data ~/data
`;
}

function settingHelp(name: SettingName): [string, string] {
  const { kind, help } = SETTINGS[name] as Setting<unknown>;
  const fallback = fallbackOf(name);
  return [`--${flagOf(name)} ${kind.placeholder}`, fallback === '' ? help : `${help} (default: ${fallback})`];
}

function helpLine(option: string, text: string): string {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && HELP_TEXT + line.length + 1 + word.length > HELP_WIDTH) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines
    .map((line, at) => `${(at === 0 ? `  ${option}` : '').padEnd(HELP_TEXT - 1)} ${line}`)
    .join('\n');
}

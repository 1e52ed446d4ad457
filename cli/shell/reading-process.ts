import { Reader } from '../../client/reader.js';
import { isErrorCode, messageOf, SkylineError } from '../../protocol/errors.js';
import { dump } from './dump.js';
import { type Answer, type Ask, MORE } from './reading-messages.js';

/** Rows in a piece: as many as a table is drawn of. */
const PIECE_ROWS = 200;

/**
 * The process that reads for a shell: better-sqlite3 cannot interrupt a statement, but a process can be killed. It leaves when
 * the shell does.
 */
let reader: Reader | null = null;
let open = '';
let asked = Promise.resolve();
let printed: (() => void) | null = null;

process.title = 'skylinedb-shell-reader';
process.on('message', (message: Ask | typeof MORE) => {
  if (message === MORE) printed?.();
  else asked = asked.then(() => answer(message));
});
process.on('disconnect', () => process.exit(0));
// Ctrl-C is the shell's: it decides what ends.
process.on('SIGINT', () => undefined);

async function answer(ask: Ask): Promise<void> {
  try {
    if (ask.what.op === 'rows') await rows(readerOf(ask), ask.what.sql);
    else await text(readerOf(ask), ask.what.table);
    say({ kind: 'end' });
  } catch (error) {
    say(failure(error));
  }
}

async function rows(from: Reader, sql: string): Promise<void> {
  const { columns, rows: all } = from.rows(sql);
  for (let at = 0; at === 0 || at < all.length; at += PIECE_ROWS)
    await piece({ kind: 'rows', set: { columns, rows: all.slice(at, at + PIECE_ROWS) } });
}

async function text(from: Reader, table: string | null): Promise<void> {
  for (const part of from.snapshot(() => dump(from, table))) await piece({ kind: 'text', text: part });
}

/** Resolves when the shell has printed it. */
async function piece(answer: Answer): Promise<void> {
  const next = new Promise<void>((resolve) => {
    printed = resolve;
  });
  say(answer);
  await next;
}

function readerOf({ path, attach }: Ask): Reader {
  const wanted = JSON.stringify([path, attach]);
  if (reader !== null && open === wanted) return reader;
  reader?.close();
  reader = null;
  reader = new Reader(path, { attach });
  open = wanted;
  return reader;
}

function failure(error: unknown): Answer {
  if (!(error instanceof SkylineError)) return { kind: 'error', code: 'INTERNAL', message: messageOf(error) };
  const sqliteCode = error.details.sqlite_code;
  if (error.code === 'STATEMENT_NOT_ALLOWED' || sqliteCode?.startsWith('SQLITE_READONLY') === true)
    return { kind: 'writes' };
  return {
    kind: 'error',
    code: isErrorCode(error.code) ? error.code : 'INTERNAL',
    message: error.message,
    ...(sqliteCode === undefined ? {} : { sqliteCode }),
  };
}

function say(answer: Answer): void {
  process.send?.(answer);
}

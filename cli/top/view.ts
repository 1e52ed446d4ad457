import { cells, fitEnd, fitStart, padEnd, padStart } from '../cells.js';
import { bytes, micros, span } from '../format.js';
import { type Output, visible } from '../output.js';
import type { Row, Sample } from './sample.js';
import { type Sort, sorted, type TopState } from './state.js';

/** Lines that are not rows: two of totals, the message, the heads, and the keys. */
const OTHER_LINES = 5;
/** Cells that a database's name has at least: before it gets shorter, columns are left out. */
const NAME_CELLS = 16;
const GAP = '  ';
/** A transaction that is open for so many milliseconds is told: others are. */
const HELD_MS = 1_000;
const KEYS = 'q quit  p pause  < > sort  r reverse  ? help';

interface Column {
  readonly sort: Sort;
  readonly head: string;
  readonly width: number;
  readonly cell: (row: Row) => string;
  /** Left out sooner where there is no room. */
  readonly rank: number;
}

const COLUMNS: readonly Column[] = [
  { sort: 'batches', head: 'batches/s', width: 10, rank: 0, cell: ({ batches }) => perSecond(batches) },
  { sort: 'p50', head: 'p50', width: 8, rank: 3, cell: ({ p50 }) => time(p50) },
  { sort: 'p99', head: 'p99', width: 8, rank: 1, cell: ({ p99 }) => time(p99) },
  { sort: 'queue', head: 'queue', width: 6, rank: 2, cell: ({ queue }) => String(queue) },
  { sort: 'wal', head: 'WAL', width: 10, rank: 4, cell: walOf },
  { sort: 'readers', head: 'readers', width: 8, rank: 7, cell: ({ readers }) => String(readers ?? '-') },
  { sort: 'clients', head: 'clients', width: 8, rank: 8, cell: ({ clients }) => String(clients) },
  { sort: 'state', head: 'state', width: 10, rank: 5, cell: stateOf },
  { sort: 'worker', head: 'worker', width: 8, rank: 6, cell: ({ worker }) => String(worker ?? '-') },
];

const HELP = [
  'One row for each database that the daemon knows. Rates and times are those since the last look.',
  '',
  '  batches/s    batches that were answered',
  '  p50, p99     half of them, and 99 of 100, took so long at most, from their arrival at the worker',
  '  queue        batches accepted and not yet answered',
  '  WAL          length of the -wal file; ! where a reader keeps it beyond its limit',
  '  readers      processes inside a read transaction, where the system tells',
  '  clients      attached to the worker itself',
  '  state        open, preparing, closed, tx while a transaction keeps others waiting; * too busy to answer',
  '',
  '  < >          sort by the column beside     b l u w d   by batches, p99, queue, WAL, database',
  '  r            the other way round           p           pause: the screen stays as it is',
  '  up, down, page up, page down               q           quit',
  '',
  'Any of ? h Esc: back.',
];

/** How many rows fit below each other. */
export function pageOf(height: number): number {
  return Math.max(1, height - OTHER_LINES);
}

/**
 * The whole screen, from top to bottom: no line wider than the screen, no more lines than it has.
 * @param colors of the stream that it is for
 */
export function view(
  state: TopState,
  { columns: width, rows: height }: { readonly columns: number; readonly rows: number },
  colors: Output['colors'],
): string[] {
  const message = state.message ?? trouble(state.sample);
  const top = [
    colors.bold(fitStart(headline(state.sample), width)),
    fitStart(totals(state), width),
    message === null ? '' : colors.yellow(fitStart(visible(message), width)),
  ];
  const body = state.help
    ? HELP.map((line) => fitStart(line, width))
    : table(state, width, pageOf(height), colors);
  const foot = colors.dim(fitStart(state.help ? '' : KEYS, width));
  const middle = body.slice(0, Math.max(0, height - top.length - 1));
  const space = Array.from({ length: Math.max(0, height - top.length - middle.length - 1) }, () => '');
  return [...top, ...middle, ...space, foot].slice(0, height);
}

/** The same for whoever reads a file or a pipe: all rows, nothing cut off. */
export function snapshot(state: TopState, colors: Output['colors']): string[] {
  const width = 120 + Math.max(0, ...(state.sample?.rows ?? []).map(({ db }) => cells(db)));
  const rows = state.sample?.rows.length ?? 0;
  const message = trouble(state.sample);
  return [
    headline(state.sample),
    totals(state),
    ...(message === null ? [] : [visible(message)]),
    '',
    ...table(state, width, Math.max(1, rows), colors),
  ].map((line) => line.trimEnd());
}

function headline(sample: Sample | null): string {
  if (sample === null) return 'skylinedb top';
  const { version, pid, uptimeMs, connections, attached, workers, spares } = sample;
  return [
    `skylinedb ${version}`,
    `pid ${pid}`,
    `up ${span(uptimeMs)}`,
    `connections ${connections} + ${attached} attached`,
    `workers ${workers} + ${spares} spare`,
  ].join(GAP);
}

function totals({ sample, paused }: TopState): string {
  if (sample === null) return '';
  return [
    ...(paused ? ['[paused]'] : []),
    `databases ${sample.rows.length}`,
    `batches/s ${perSecond(sample.batches)}`,
    `errors/s ${perSecond(sample.errors)}`,
    `queue ${sample.queue}`,
    `WAL ${bytes(sample.wal)}`,
  ].join(GAP);
}

/** What needs a person. */
function trouble(sample: Sample | null): string | null {
  return blocked(sample) ?? held(sample);
}

/** Whose transaction others wait for. */
function held(sample: Sample | null): string | null {
  const row = sample?.rows.find(({ heldBy }) => heldBy !== null && heldBy.sinceMs >= HELD_MS);
  if (row === undefined || row.heldBy === null) return null;
  return `${row.queue} wait for a transaction of ${row.heldBy.who} on ${row.db}, open for ${span(row.heldBy.sinceMs)}`;
}

/** Who keeps a WAL beyond its limit. */
function blocked(sample: Sample | null): string | null {
  const row = sample?.rows.find(({ blockedBy }) => blockedBy !== null);
  if (row === undefined || row.blockedBy === null) return null;
  const who =
    row.blockedBy.length === 0 ? 'a process that this system does not tell' : row.blockedBy.join(', ');
  return `The WAL of ${row.db} is kept beyond its limit by ${who}`;
}

function table(state: TopState, width: number, page: number, colors: Output['colors']): string[] {
  if (state.sample === null) return [];
  const shown = columnsFor(width);
  const taken = shown.reduce((sum, column) => sum + column.width, 0);
  const rows = sorted(state);
  const base = state.sample.dataDir.replace(/[\\/]*$/, '/');
  const names = rows.map(({ db }) => visible(db.startsWith(base) ? db.slice(base.length) : db));
  const nameWidth = Math.max(1, Math.min(width - taken, Math.max(NAME_CELLS, ...names.map(cells))));
  const mark = (head: string, sort: Sort) =>
    sort === state.sort ? `${state.reverse ? '▲' : '▼'}${head}` : head;
  const line = (name: string, cell: (column: Column) => string) =>
    fitStart(
      padEnd(name, nameWidth) + shown.map((column) => padStart(cell(column), column.width)).join(''),
      width,
    );
  const from = Math.min(state.scroll, Math.max(0, rows.length - page));
  const heads = colors.inverse(
    padEnd(
      line(mark('database', 'db'), ({ head, sort }) => mark(head, sort)),
      width,
    ),
  );
  if (rows.length === 0) return [heads, fitStart('No database has been used yet.', width)];
  return [
    heads,
    ...rows.slice(from, from + page).map((row, at) => {
      const text = line(fitEnd(names[from + at] ?? '', nameWidth), ({ cell }) => cell(row));
      return row.blockedBy !== null || row.state !== 'open'
        ? colors.yellow(text)
        : row.worker === null
          ? colors.dim(text)
          : text;
    }),
  ];
}

/** Those that matter most, as many as fit beside a name. */
function columnsFor(width: number): Column[] {
  let left = width - NAME_CELLS;
  const fitting = [...COLUMNS]
    .sort((one, other) => one.rank - other.rank)
    .filter((column) => {
      left -= column.width;
      return left >= 0;
    });
  return COLUMNS.filter((column) => fitting.includes(column));
}

function perSecond(value: number | null): string {
  if (value === null) return '-';
  if (value === 0) return '0';
  return value < 10 ? value.toFixed(1) : Math.round(value).toString();
}

function time(us: number | null): string {
  return us === null ? '-' : micros(us);
}

function walOf({ wal, blockedBy }: Row): string {
  return blockedBy === null ? bytes(wal) : `!${bytes(wal)}`;
}

function stateOf({ state, stale, heldBy }: Row): string {
  const word = heldBy === null ? state : 'tx';
  return stale ? `${word}*` : word;
}

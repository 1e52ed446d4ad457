import { ratio } from './statistics.mjs';

/**
 * Where SkylineDB must stand. Each target is a ratio (or a size) of medians of the same run.
 *
 * @typedef {object} Target
 * @property {string} measure
 * @property {'least' | 'most'} kind
 * @property {number} target
 * @property {string} unit
 * @property {number | null} measured null when this run did not measure it
 * @property {boolean | null} met by the unrounded figure
 * @property {string} note
 */

/** @typedef {import('./main.mjs').Results} Results */
/** @typedef {import('./sections/cases.mjs').Cell} Cell */

const MB = 1024 * 1024;

/**
 * @param {Results} results
 * @returns {Target[]}
 */
export function judge(results) {
  return [...writing(results), ...starting(results), ...remembering(results)].map((one) => ({
    ...one,
    met: one.measured === null ? null : isMet(one.kind, one.measured, one.target),
  }));
}

/**
 * @param {'least' | 'most'} kind
 * @param {number} measured
 * @param {number} target
 */
function isMet(kind, measured, target) {
  return kind === 'least' ? measured >= target : measured <= target;
}

/** @param {Results} results */
function writing({ cells, bulk, many }) {
  /** @type {(subject: string, clients: number, inFlight: number, durability: string) => Cell | undefined} */
  const find = (subject, clients, inFlight, durability) =>
    cells.find(
      (cell) =>
        cell.load === 'insert' &&
        cell.subject === subject &&
        cell.clients === clients &&
        cell.inFlight === inFlight &&
        cell.durability === durability,
    );
  // A direct client has one batch at a time, whatever the others have in flight.
  const ours = {
    four: find('skylinedb', 4, 32, 'normal'),
    single: find('skylinedb', 1, 1, 'normal'),
    durable1: find('skylinedb', 16, 1, 'full'),
    durable32: find('skylinedb', 16, 32, 'full'),
  };
  const direct4 = find('direct', 4, 1, 'normal');
  const direct16 = find('direct', 16, 1, 'full');
  /** @type {(a: Cell | undefined, b: Cell | undefined) => number | null} */
  const speed = (a, b) => ratio(a?.perSecond, b?.perSecond);
  const sixteen = cells.filter(({ subject, clients }) => subject.startsWith('skylinedb') && clients === 16);
  const fairness = sixteen.flatMap((cell) => cell.fairness ?? []);
  return [
    least('4 x 32, normal ÷ direct', 2, speed(ours.four, direct4)),
    least('16 x 1, full ÷ direct', 2, speed(ours.durable1, direct16)),
    least('16 x 32, full ÷ direct', 12, speed(ours.durable32, direct16)),
    least('16 x 32, full ÷ PostgreSQL', 3, speed(ours.durable32, find('postgres', 16, 32, 'full'))),
    least('16 x 1, full ÷ PostgreSQL', 1.5, speed(ours.durable1, find('postgres', 16, 1, 'full'))),
    most(
      '1 x 1, normal: p50 ÷ Redis everysec',
      0.75,
      ratio(ours.single?.p50, find('redis', 1, 1, 'normal')?.p50),
    ),
    {
      ...least(
        'slowest ÷ fastest client, 16 clients',
        0.8,
        fairness.length > 0 ? Math.min(...fairness) : null,
      ),
      note: 'the worst of all cases with 16 clients',
    },
    most('longest wait, 16 x 1, full ÷ direct', 0.02, ratio(ours.durable1?.max, direct16?.max)),
    busy([...cells, ...(many?.cells ?? [])]),
    {
      ...least('bulk load ÷ in process, one transaction', 0.5, ratio(bulk?.skylinedb, bulk?.direct)),
      note: bulk ? `${bulk.rows} rows` : '',
    },
    {
      ...least(
        'router ÷ attached, 4 x 32, normal',
        0.6,
        speed(find('skylinedb-router', 4, 32, 'normal'), ours.four),
      ),
      note: routerNote(find('skylinedb-router', 4, 32, 'normal')),
    },
  ];
}

/** @param {Cell | undefined} cell */
function routerNote(cell) {
  return cell === undefined ? 'skylinedb-router was not measured' : '';
}

/** @param {readonly { subject: string, errorCodes: Record<string, number> }[]} cells */
function busy(cells) {
  const ours = cells.filter(({ subject }) => subject.startsWith('skylinedb'));
  let count = 0;
  for (const { errorCodes } of ours) {
    for (const [code, times] of Object.entries(errorCodes)) if (/BUSY/.test(code)) count += times;
  }
  return most('BUSY seen by callers', 0, ours.length > 0 ? count : null);
}

/** @param {Results} results */
function starting({ startup }) {
  const over =
    startup?.firstWrite == null || startup.warmWrite == null ? null : startup.firstWrite - startup.warmWrite;
  return [
    most('first write to a new database, over a warm write', 15, over, ' ms'),
    most('warm exec ÷ node -e 0', 1.5, ratio(startup?.warmExec, startup?.node)),
    most('cold exec ÷ node -e 0', 5, ratio(startup?.coldExec, startup?.node)),
  ];
}

/** @param {Results} results */
function remembering({ memory }) {
  /** @type {(bytes: number | null | undefined) => number | null} */
  const mb = (bytes) => (bytes == null ? null : bytes / MB);
  return [
    most('idle router, private memory', 14, mb(memory?.idle.router), ' MB'),
    most('idle worker, private memory', 10, mb(memory?.idle.worker), ' MB'),
    {
      ...most('worker after load, private memory', 24, mb(memory?.loaded.worker), ' MB'),
      note: memory ? `after ${memory.loadSeconds} s of 4 x 32` : '',
    },
  ];
}

/**
 * @param {string} measure
 * @param {number} target
 * @param {number | null} measured
 * @returns {Omit<Target, 'met'>}
 */
function least(measure, target, measured) {
  return { measure, kind: 'least', target, unit: '', measured, note: '' };
}

/**
 * @param {string} measure
 * @param {number} target
 * @param {number | null} measured
 * @param {string} [unit]
 * @returns {Omit<Target, 'met'>}
 */
function most(measure, target, measured, unit = '') {
  return { measure, kind: 'most', target, unit, measured, note: '' };
}

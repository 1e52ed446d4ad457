import { type MarkFile, outOfOrder, type Verdict, type WriterReport } from './marks.js';

/** What may be said of a batch while the file is closed, exchanged, or served by a daemon that dies. */
const EXPECTED = new Set([
  'SQL_ERROR',
  'EXPECTATION_FAILED',
  'DATABASE_CLOSED',
  'DATABASE_PREPARING',
  'SESSION_CONFLICT',
  'WORKER_CRASHED',
]);

/**
 * Compares what the writers were told with all the files that were in one place, one after the other: what was done is in one
 * of them, once, and what was done in one epoch is in one file; what failed is in none; (epoch, rev) never repeats.
 */
export function judgeFiles(reports: readonly WriterReport[], files: readonly MarkFile[]): Verdict {
  const violations = reports.flatMap((report) => report.violations);
  const places = new Map<string, MarkFile[]>();
  for (const file of files) {
    if (file.integrity !== 'ok') violations.push(`integrity_check of ${file.file}: ${file.integrity}`);
    violations.push(...outOfOrder(file).map((text) => `${file.file}: ${text}`));
    const counted = [...file.marks.values()].flat().filter((mark) => mark.counted).length;
    if (counted !== file.counter)
      violations.push(`${file.file}: the counter is ${file.counter} with ${counted} counted marks`);
    for (const [key, list] of file.marks)
      places.set(key, [...(places.get(key) ?? []), ...list.map(() => file)]);
  }
  const codes: Record<string, number> = {};
  const fileOf = new Map<number, MarkFile>();
  const positions = new Set<string>();
  let [done, failed, unknown] = [0, 0, 0];
  for (const { name, done: answers, failed: refusals } of reports) {
    done += answers.length;
    let before = [0, 0] as readonly [number, number];
    for (const [n, rev, epoch] of [...answers].sort(([a], [b]) => a - b)) {
      const found = places.get(`${name}/${n}`) ?? [];
      const [file] = found;
      if (found.length !== 1 || file === undefined) {
        violations.push(`${name}/${n} was done at (${epoch}, ${rev}) and is there ${found.length} times`);
        continue;
      }
      const same = fileOf.get(epoch) ?? file;
      fileOf.set(epoch, same);
      if (same !== file)
        violations.push(
          `${name}/${n} was done in epoch ${epoch} and is in ${file.file}, others in ${same.file}`,
        );
      if (positions.has(`${epoch}/${rev}`)) violations.push(`two answers with (${epoch}, ${rev})`);
      positions.add(`${epoch}/${rev}`);
      if (epoch < before[0] || (epoch === before[0] && rev <= before[1]))
        violations.push(`${name}/${n} was answered with (${epoch}, ${rev}) after (${before.join(', ')})`);
      before = [epoch, rev];
    }
    for (const [n, code, outcome, message] of refusals) {
      codes[`${code} ${outcome}`] = (codes[`${code} ${outcome}`] ?? 0) + 1;
      if (outcome === 'not_applied') failed += 1;
      else unknown += 1;
      const count = places.get(`${name}/${n}`)?.length ?? 0;
      const fault = outcome === 'not_applied' ? count > 0 : count > 1;
      if (fault || !EXPECTED.has(code))
        violations.push(`${name}/${n} failed (${code}, ${outcome}) and is there ${count} times: ${message}`);
    }
  }
  return { done, failed, unknown, codes, violations };
}

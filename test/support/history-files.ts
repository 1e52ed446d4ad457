import { readFileSync } from 'node:fs';
import type { Operation, Step } from './history.js';

/** A line of test/fixtures/history-client.mjs: before a request, or after its answer. */
interface Line {
  readonly n: number;
  readonly what?: string;
  readonly begun?: number;
  readonly ended?: number;
  readonly steps?: readonly Step[];
  readonly epoch?: number;
  readonly rev?: number;
  readonly code?: string;
  readonly outcome?: string;
  readonly message?: string;
}

/** What the files of several clients tell together. */
export interface Recorded {
  readonly operations: readonly Operation[];
  /** How often each failure was met, by code and outcome. */
  readonly codes: { readonly [code: string]: number };
  /** What went wrong so plainly that no order need be looked for. */
  readonly violations: readonly string[];
}

/** Reads what clients have written down, the last line of one that was killed perhaps cut off. */
export function readHistories(files: readonly string[]): Recorded {
  const operations: Operation[] = [];
  const codes: Record<string, number> = {};
  const violations: string[] = [];
  for (const file of files) {
    const begun = new Map<number, Line>();
    for (const line of linesOf(file)) {
      const asked = begun.get(line.n);
      if (asked === undefined) begun.set(line.n, line);
      else if (line.ended === undefined) {
        const { code = '', outcome = '', message = '' } = line;
        codes[`${code} ${outcome}`] = (codes[`${code} ${outcome}`] ?? 0) + 1;
        // Whatever was not applied is no part of the history: if it was, some value is nobody's.
        if (outcome === 'not_applied') begun.delete(line.n);
        else if (outcome !== 'unknown') violations.push(`${file}/${line.n}: ${code}, ${outcome}: ${message}`);
      } else {
        begun.delete(line.n);
        if (line.code !== undefined) violations.push(`${file}/${line.n}: ${line.code}`);
        if ((line.epoch ?? 1) !== 1)
          violations.push(`${file}/${line.n}: epoch ${line.epoch}, and nobody has replaced the file`);
        operations.push(operation(asked, line.ended, line.steps ?? [], line.rev));
      }
    }
    // What was to fail has no steps, and changes nothing, whether its answer has come or not.
    for (const asked of begun.values())
      if (asked.steps !== undefined) operations.push(operation(asked, Infinity, asked.steps));
  }
  return { operations, codes, violations };

  function operation(asked: Line, ended: number, steps: readonly Step[], rev?: number): Operation {
    const { what = '', begun = 0 } = asked;
    return { name: `${what} #${asked.n}`, begun, ended, steps, ...(rev === undefined ? {} : { rev }) };
  }
}

function linesOf(file: string): Line[] {
  const text = readFileSync(file, 'utf8');
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
}

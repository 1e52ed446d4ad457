import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dataFiles } from '../support/database-files.js';
import { Playground } from '../support/playground.js';
import { Wire } from '../support/wire.js';

/**
 * Frames that were once worth a thought, each with what it is answered: `ok`, a code, and `end` where the connection ends. What
 * the fuzzers find goes in here. Router and worker are told apart only where their answers differ.
 */
interface Entry {
  readonly what: string;
  /** A payload, as text; or the bytes of a stream, as hex. */
  readonly text?: string;
  readonly hex?: string;
  readonly answers: readonly string[];
  readonly worker?: readonly string[];
}

const FILE = new URL('../fixtures/corpus/frames.json', import.meta.url);
const corpus = JSON.parse(readFileSync(FILE, 'utf8')) as Entry[];
/** The one that is meant where none is named, so that the same bytes suit both sockets. */
const DB = 'data.db';

let ground: Playground;
let endpoint: string;
beforeAll(async () => {
  ground = new Playground();
  await ground.daemon();
  const wire = await ground.wire();
  await wire.exec(DB, ['CREATE TABLE t (a)']);
  endpoint = String((await wire.request({ type: 'Attach', db: DB })).endpoint);
});
afterAll(async () => {
  const wire = await ground.wire();
  // None of it has dropped the table, written into it, or made another file.
  expect(await wire.rows(DB, 'SELECT count(*) FROM t')).toEqual([[0]]);
  expect(dataFiles(ground)).toEqual([DB]);
  await ground.expectCleanEnd();
  await ground.dispose();
});

function bytesOf({ text = '', hex }: Entry): Buffer {
  if (hex !== undefined) return Buffer.from(hex, 'hex');
  const payload = Buffer.from(text);
  const header = Buffer.alloc(4);
  header.writeUInt32LE(payload.length);
  return Buffer.concat([header, payload]);
}

async function expectAnswers(socket: string, entry: Entry, answers: readonly string[]): Promise<void> {
  const wire = await Wire.connect(socket);
  wire.raw(bytesOf(entry));
  const heard: string[] = [];
  while (heard.length < answers.length) {
    const answer = await wire.next();
    heard.push(answer === null ? 'end' : String(answer.code ?? answer.status));
    if (answer === null) break;
  }
  expect(heard, socket).toEqual(answers);
  if (!answers.includes('end')) expect(await wire.request({ type: 'Ping' })).toMatchObject({ status: 'ok' });
  wire.destroy();
}

test.each(corpus.map((entry) => [entry.what, entry] as const))('%s', async (_what, entry) => {
  await expectAnswers(ground.socket, entry, entry.answers);
  await expectAnswers(endpoint, entry, entry.worker ?? entry.answers);
});

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground } from '../support/playground.js';

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
  mkdirSync(join(ground.stateDir, 'maintenance'), { recursive: true });
});
afterEach(async () => {
  await ground.dispose();
});

const record = (text: string) => writeFileSync(join(ground.stateDir, 'maintenance', 'a.json'), text);

test('a damaged record does not keep the daemon from serving others', async () => {
  record('{"db":');
  await ground.daemon();
  const wire = await ground.wire();
  expect(await wire.exec('x.db', ['CREATE TABLE t (a)'])).toMatchObject({ status: 'ok' });
});

test('a cut-off replacement that cannot be tidied up does not end the daemon', async () => {
  writeFileSync(ground.file('f'), 'a file where the folder was');
  const [db, staged] = [ground.file('f/x.db'), ground.file('f/x.db.incoming-1')];
  record(JSON.stringify({ db, state: 'staging', since: '', known: null, file: null, staged }));
  await ground.daemon();
  await new Promise((resolve) => setTimeout(resolve, 200));
  const wire = await ground.wire();
  expect(await wire.request({ type: 'Ping' })).toMatchObject({ status: 'ok' });
});

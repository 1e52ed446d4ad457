import { afterEach, beforeEach, expect, test } from 'vitest';
import { Playground, until } from '../support/playground.js';
import { Program } from '../support/program.js';

const LIBRARY = new URL('../../dist/client/index.js', import.meta.url).href;

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

test('a client that is killed in the middle of its subscriptions leaves nothing, and the others hear on', async () => {
  await ground.daemon();
  const db = ground.file('x.db');
  const [wire, listener] = [await ground.wire(), await ground.wire()];
  await wire.exec(db, ['CREATE TABLE t (n)']);
  expect(await listener.request({ type: 'Subscribe', db })).toMatchObject({ status: 'ok' });
  const held = async () => {
    const { connections, subscriptions } = await wire.request({ type: 'Status' });
    return { connections, subscriptions };
  };
  const before = await held();
  expect(before).toEqual({ connections: 2, subscriptions: 1 });
  // It hears of changes when it is killed, and does not read them any more.
  const program = new Program(
    ground.start(process.execPath, [
      '--input-type=module',
      '-e',
      `import { connect } from ${JSON.stringify(LIBRARY)};
       const db = (await connect()).database(${JSON.stringify(db)});
       const watches = [db.watch(), db.watch({ tables: ['t'] }), db.watch()];
       await Promise.all(watches.map((watch) => watch.ready));
       console.log('subscribed');
       for await (const { rev } of watches[0]) if (rev >= 20) { console.log('heard'); while (true); }`,
    ]),
  );
  expect(await program.line()).toBe('subscribed');
  expect(await held()).toMatchObject({ subscriptions: 4 });
  const write = () => wire.exec(db, ['INSERT INTO t VALUES (1)']);
  for (let n = 0; n < 20; n += 1) await write();
  expect(await program.line()).toBe('heard');
  for (let n = 0; n < 20; n += 1) await write();
  await program.kill();
  await until('nothing of it is left', async () => (await held()).subscriptions === before.subscriptions);
  await until('its connections are gone', async () => (await held()).connections === before.connections);
  expect(await write()).toMatchObject({ rev: 42 });
  for (let rev = 2; rev <= 42; rev += 1)
    expect(await listener.next()).toMatchObject({ event: 'change', rev });
});

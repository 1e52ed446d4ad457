import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { newSessionName } from '../../../client/session-name.js';

const MODULE = JSON.stringify(new URL('../../../dist/client/session-name.js', import.meta.url).href);

test('no two sessions have the same name', () => {
  const names = Array.from({ length: 10_000 }, newSessionName);
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) expect(name).toMatch(/^[0-9a-z-]{8,60}$/);
});

test('nor do those of other processes, and of threads of one', async () => {
  const print = `const { newSessionName } = await import(${MODULE}); console.log(newSessionName())`;
  const run = async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', print]);
    return stdout.trim();
  };
  const post = `import(${MODULE}).then(({ newSessionName }) => require('node:worker_threads').parentPort.postMessage(newSessionName()))`;
  const think = () =>
    new Promise<string>((resolve, reject) => {
      new Worker(post, { eval: true }).once('message', resolve).once('error', reject);
    });
  const names = await Promise.all([run(), run(), run(), think(), think(), think()]);
  expect(names.every((name) => name.length > 8)).toBe(true);
  expect(new Set(names).size).toBe(names.length);
});

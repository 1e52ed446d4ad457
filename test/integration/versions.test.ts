import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isOlder } from '../../protocol/version.js';
import { Playground } from '../support/playground.js';
import { Wire } from '../support/wire.js';

const LIBRARY = fileURLToPath(new URL('../../dist/client/index.js', import.meta.url));

let ground: Playground;
beforeEach(() => {
  ground = new Playground();
});
afterEach(async () => {
  await ground.dispose();
});

/** A daemon of another version, as far as Hello shows. */
function daemonOfVersion(version: string) {
  const limits = {
    max_frame: 1e6,
    max_statements: 1,
    max_parameters: 1,
    max_sql_bytes: 1,
    max_result_bytes: 1,
    max_in_flight: 1,
    max_session_result_bytes: 1,
  };
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      const { id } = JSON.parse(chunk.subarray(4).toString('utf8')) as { id: number };
      socket.write(Wire.frame({ status: 'ok', id, protocol: 1, version, pid: 4711, limits }));
    });
  });
  return new Promise<typeof server>((resolve) => {
    server.listen(ground.socket, () => resolve(server));
  });
}

test.each([
  ['0.0.1', true],
  ['99.0.0', false],
])('a client that meets a daemon of version %s says so: %s', async (version, older) => {
  const server = await daemonOfVersion(version);
  const script = `import { connect } from ${JSON.stringify(LIBRARY)}; await connect(); await connect();`;
  const { code, stderr } = await ground.run(process.execPath, ['--input-type=module', '-e', script]);
  server.close();
  expect(code).toBe(0);
  expect(stderr.match(/SKYLINEDB_OLD_DAEMON/g)?.length ?? 0).toBe(older ? 1 : 0);
  if (older)
    expect(stderr).toMatch(
      /pid 4711\) is skylinedb 0\.0\.1, older than this client .* "skylinedb-cli shutdown"/,
    );
});

test('versions are compared by their numbers', () => {
  expect(isOlder('0.9.0', '0.10.0')).toBe(true);
  expect(isOlder('1.0.0', '0.10.0')).toBe(false);
  expect(isOlder('1.2.3', '1.2.3')).toBe(false);
  expect(isOlder('1.2.3-rc.1', '1.2.3')).toBe(false);
});

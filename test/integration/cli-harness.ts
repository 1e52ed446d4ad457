import { type ChildProcess, spawnSync } from 'node:child_process';
import { expect } from 'vitest';
import { CLI_MAIN, type Finished, Playground } from '../support/playground.js';

/** A playground in which a program may end without having read its standard input: on a busy machine that happens. */
export class CliPlayground extends Playground {
  override start(...call: Parameters<Playground['start']>): ChildProcess {
    const child = super.start(...call);
    child.stdin?.on('error', () => undefined);
    return child;
  }
}

/** What `--json` printed; asserts that it was one JSON value on one line, and nothing on stderr. */
export function jsonOf({ stdout, stderr }: Finished): { readonly [field: string]: unknown } {
  expect(stderr).toBe('');
  expect(stdout.endsWith('\n')).toBe(true);
  expect(stdout.trimEnd()).not.toContain('\n');
  return JSON.parse(stdout);
}

/** Runs the program with `--json` and gives its exit code with the JSON. */
export async function runJson(
  ground: Playground,
  args: readonly string[],
  options: { input?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<{ readonly [field: string]: unknown }> {
  const finished = await ground.cli([...args, '--json'], options);
  return { exit: finished.code, ...jsonOf(finished) };
}

/** `x.db` with a table `t (a, b)`, made by the program itself; a daemon runs afterwards. */
export async function makeTable(ground: Playground): Promise<void> {
  const { code, stderr } = await ground.cli(['exec', '--db', 'x.db', 'CREATE TABLE t (a, b)']);
  expect([code, stderr]).toEqual([0, '']);
}

/** Python opens a real pseudo-terminal; Node has no such function. It prints what came out of which side. */
const IN_TERMINAL = `
import fcntl, json, os, pty, struct, subprocess, sys, termios
sides, command = sys.argv[1], sys.argv[2:]
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 40, 120, 0, 0))
side = lambda name: slave if name in sides else subprocess.PIPE
child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=side('out'), stderr=side('err'))
os.close(slave)
seen = b''
while True:
    try:
        piece = os.read(master, 65536)
    except OSError:
        break
    if not piece:
        break
    seen += piece
out, err = child.communicate()
text = lambda b: (b or b'').decode()
print(json.dumps({'terminal': text(seen).replace('\\r\\n', '\\n'), 'stdout': text(out), 'stderr': text(err), 'code': child.returncode}))
`;

/** False where there is no Python to open a pseudo-terminal. */
export const HAS_TERMINAL = spawnSync('python3', ['-c', 'import pty, termios']).status === 0;

/** Runs the program with a terminal as its stdout (`out`), its stderr (`err`) or both (`out err`). */
export async function inTerminal(
  ground: Playground,
  sides: 'out' | 'err' | 'out err',
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ terminal: string; stdout: string; stderr: string; code: number }> {
  const command = [process.execPath, CLI_MAIN, ...args];
  const { stdout, stderr } = await ground.run('python3', ['-c', IN_TERMINAL, sides, ...command], {
    env: { TERM: 'xterm', ...env },
  });
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}

import { type ChildProcess, spawnSync } from 'node:child_process';
import { stripVTControlCharacters } from 'node:util';
import { type Playground, until } from './playground.js';

/**
 * Python opens a real pseudo-terminal; Node has no such function. It takes lines of JSON (`keys`, `size`, `signal`), and prints
 * such lines: what the program wrote, and in the end its exit code and whether the terminal is as it was.
 */
const BRIDGE = `
import fcntl, json, os, select, signal, struct, subprocess, sys, termios
rows, columns, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
master, slave = os.openpty()
def resize(rows, columns):
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
resize(rows, columns)
before = termios.tcgetattr(slave)
def own():
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=own)
def say(**what):
    sys.stdout.write(json.dumps(what) + '\\n')
    sys.stdout.flush()
say(pid=child.pid)
asked = b''
while True:
    ready, _, _ = select.select([master, 0], [], [], 0.05)
    if master in ready:
        say(text=os.read(master, 65536).decode('utf-8', 'replace'))
        continue
    if child.poll() is not None:
        break
    if 0 in ready:
        more = os.read(0, 65536)
        if not more:
            child.kill()
        asked += more
        while b'\\n' in asked:
            line, asked = asked.split(b'\\n', 1)
            what = json.loads(line)
            if 'keys' in what: os.write(master, what['keys'].encode())
            if 'size' in what:
                resize(*what['size'])
                os.killpg(child.pid, signal.SIGWINCH)
            if 'signal' in what: os.kill(child.pid, getattr(signal, what['signal']))
say(code=child.returncode, restored=termios.tcgetattr(slave) == before)
`;

/** False where there is no Python to open a pseudo-terminal. */
export const HAS_TERMINAL = spawnSync('python3', ['-c', 'import pty, termios']).status === 0;

interface End {
  /** Negative: the signal that has ended it. */
  readonly code: number;
  /** The terminal's modes are what they were before the program. */
  readonly restored: boolean;
}

/** A program in a terminal of its own: keys go in, and what it writes comes out. */
export class Terminal {
  /** Everything that it has written. */
  text = '';
  pid = 0;
  readonly #child: ChildProcess;
  #rest = '';
  #end: End | null = null;
  #stderr = '';

  constructor(
    ground: Playground,
    command: readonly string[],
    { rows = 24, columns = 100, env = {} }: { rows?: number; columns?: number; env?: NodeJS.ProcessEnv } = {},
  ) {
    this.#child = ground.start('python3', ['-c', BRIDGE, String(rows), String(columns), ...command], {
      env: { TERM: 'xterm-256color', ...env },
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
  }

  keys(keys: string): void {
    this.#say({ keys });
  }

  resize(rows: number, columns: number): void {
    this.#say({ size: [rows, columns] });
  }

  signal(signal: NodeJS.Signals): void {
    this.#say({ signal });
  }

  /** Waits until what it has written since `from` matches, without what only moves the cursor or colours. */
  async shows(pattern: RegExp, from = 0): Promise<void> {
    try {
      await until('', () => pattern.test(stripVTControlCharacters(this.text.slice(from))));
    } catch {
      throw new Error(`${pattern} was not shown, but ${JSON.stringify(this.text.slice(from).slice(-3000))}`);
    }
  }

  /** Waits for its end. */
  async end(): Promise<End> {
    try {
      await until('', () => this.#end !== null);
    } catch {
      throw new Error(`it has not ended: ${this.#stderr}${JSON.stringify(this.text.slice(-1000))}`);
    }
    return this.#end ?? { code: -1, restored: false };
  }

  #say(what: object): void {
    this.#child.stdin?.write(`${JSON.stringify(what)}\n`);
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const said = JSON.parse(line) as { text?: string; pid?: number } & Partial<End>;
      if (said.text !== undefined) this.text += said.text;
      if (said.pid !== undefined) this.pid = said.pid;
      if (said.code !== undefined) this.#end = { code: said.code, restored: said.restored === true };
    }
  }
}

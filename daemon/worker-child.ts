import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { workerEndpoint } from '../protocol/endpoint.js';
import { SkylineError } from '../protocol/errors.js';
import { FrameDecoder } from '../protocol/frame.js';
import { GatheredWrites } from '../protocol/transport/gathered-writes.js';
import { decodeLink, encodeLink, type LinkFrame, type LinkKind, MAX_LINK_FRAME } from './worker/link.js';

/** How a worker has ended. */
export interface WorkerExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Whoever a worker process works for at the moment. */
export interface Tenant {
  frame(frame: LinkFrame): void;
  /** What the process wrote to stderr: a crash's last words. */
  stderr(text: string): void;
  ended(exit: WorkerExit): void;
}

// From dist/daemon and from dist/bin alike.
const WORKER_MAIN = fileURLToPath(new URL('../bin/worker.cjs', import.meta.url));

/**
 * V8's young generation grows to 16 MB three times over under any load, and stays there. With 2 MB, and collected by the thread
 * that made the garbage, a worker at full load has 21 to 22 MB of its own; with 4 MB 26 to 29. With 1 MB what a large group has in
 * hand does not fit and is moved to the old generation, which takes half as much time again and saves nothing (21 to 24 MB).
 */
const MEMORY = ['--max-semi-space-size=2', '--single-threaded-gc'];
/** glibc gives each thread a heap of its own otherwise. Others ignore it (https://man7.org/linux/man-pages/man3/mallopt.3.html). */
const ONE_HEAP = { MALLOC_ARENA_MAX: '1' };

/**
 * A worker process, its link and its end. It serves one database after the other, and none while it is a spare: what is
 * sent before the process is up waits in the socket pair.
 */
export class WorkerChild {
  static #sockets = 0;
  readonly #child: ChildProcess;
  readonly #link: Socket;
  readonly #output: GatheredWrites;
  readonly #decoder = new FrameDecoder(MAX_LINK_FRAME);
  /** Resolves when the process has ended and all it said has been read. Its tenant has heard of it by then. */
  readonly exited: Promise<WorkerExit>;
  tenant: Tenant | null = null;
  #alive = true;

  /** @throws SkylineError `WORKER_CRASHED` when the daemon has no descriptors left */
  constructor() {
    this.#child = spawn(process.execPath, [...MEMORY, WORKER_MAIN], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      // In an Electron app execPath is Electron itself.
      env: { ...ONE_HEAP, ...process.env, ELECTRON_RUN_AS_NODE: '1' },
      windowsHide: true,
    });
    this.#child.on('error', (error) => this.tenant?.stderr(error.message));
    // Without descriptors left Node makes no pipes at all (EMFILE: ChildProcess.spawn in lib/internal/child_process.js).
    const link = (this.#child.stdio as ChildProcess['stdio'] | undefined)?.[3];
    if (link === undefined || link === null) {
      throw new SkylineError(
        'WORKER_CRASHED',
        "No process could be started for the database: the daemon has too many files open. Close connections, or raise the daemon's limit (ulimit -n).",
      );
    }
    this.#link = link as Socket;
    this.#output = new GatheredWrites(this.#link);
    this.#link.on('data', (chunk: Buffer) => this.#read(chunk));
    this.#link.on('error', () => undefined);
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => this.tenant?.stderr(text));
    this.exited = new Promise((resolve) => {
      // `close`, not `exit`: answers that the worker wrote before it died are still to be read.
      this.#child.once('close', (code, signal) => resolve(this.#ended({ code, signal })));
      this.#child.once('error', () => resolve(this.#ended({ code: null, signal: null })));
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get alive(): boolean {
    return this.#alive;
  }

  /**
   * A name for its next database's socket. Never the same again, also where a pid comes again: clients may still know the
   * last one's.
   */
  newSocket(endpoint: string): string {
    WorkerChild.#sockets += 1;
    return workerEndpoint(endpoint, this.pid, WorkerChild.#sockets);
  }

  send(kind: LinkKind, tag: number, lane: number, number: number, payload?: Buffer): void {
    if (!this.#alive || !this.#link.writable) return;
    for (const part of encodeLink(kind, tag, lane, number, payload)) this.#output.write(part);
  }

  /** Lets a process go that serves nothing: it leaves when its link ends. */
  dismiss(): void {
    this.#link.end();
  }

  /** Ends it at once. SQLite rolls back what was not committed. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #read(chunk: Buffer): void {
    this.#decoder.push(chunk);
    for (let frame = this.#decoder.next(); frame !== null; frame = this.#decoder.next())
      this.tenant?.frame(decodeLink(frame));
  }

  #ended(exit: WorkerExit): WorkerExit {
    if (this.#alive) {
      this.#alive = false;
      this.tenant?.ended(exit);
    }
    return exit;
  }
}

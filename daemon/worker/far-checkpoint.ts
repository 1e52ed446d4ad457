import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Worker } from 'node:worker_threads';
import type { CheckpointResult } from './checkpoint.js';

const THREAD_MAIN = fileURLToPath(new URL('../bin/checkpoint-thread.cjs', import.meta.url));

/** Fewer are left to the next checkpoint: starting a process takes longer. */
const FLUSH_FRAMES = 4_000;
const FLUSH = "fs.fdatasyncSync(fs.openSync(process.argv[1], 'r+'))";

/** Milliseconds after which a thread that is not needed leaves. */
const IDLE_MS = 5_000;

/** What the thread is started with. */
export interface ThreadData {
  readonly path: string;
  /** The file's own number: another one at that path must not get this one's WAL. */
  readonly inode: string;
}

export type ThreadAnswer = { readonly ok: CheckpointResult } | { readonly error: string };

/** Passive checkpoints that keep no batch waiting. */
export interface FarCheckpoint {
  readonly running: boolean;
  /**
   * Runs one. Only one at a time.
   * @param checkpointed frames that are in the main file already
   */
  run(checkpointed: number): Promise<CheckpointResult>;
  /** Resolves when it has closed the file. */
  end(): Promise<void>;
}

/**
 * Checkpoints in a thread of their own, on a connection of their own: SQLite lets a passive one run while another
 * connection writes. For what would take too long between two batches. It is a thread and not a process because it must not
 * outlive the worker: whoever exchanges the file kills the worker first.
 */
export class CheckpointThread implements FarCheckpoint {
  readonly #path: string;
  readonly #inode: string;
  #thread: Worker | null = null;
  /** Frames that have been brought to the main file, and perhaps not to the disk. */
  #unflushed = 0;
  #idle: NodeJS.Timeout | undefined;
  #gone: Promise<void> = Promise.resolve();
  #settle: ((answer: ThreadAnswer) => void) | null = null;
  #running: Promise<CheckpointResult> | null = null;

  constructor(path: string) {
    this.#path = path;
    this.#inode = inodeOf(path);
  }

  get running(): boolean {
    return this.#running !== null;
  }

  run(checkpointed: number): Promise<CheckpointResult> {
    clearTimeout(this.#idle);
    const running = this.#run(checkpointed).finally(() => {
      this.#running = null;
      this.#idle = setTimeout(() => void this.end(), IDLE_MS).unref();
    });
    this.#running = running;
    return running;
  }

  async #run(checkpointed: number): Promise<CheckpointResult> {
    const result = await this.#ask(this.#thread ?? (await this.#start()));
    this.#unflushed += result.checkpointed - checkpointed;
    if (this.#unflushed > FLUSH_FRAMES) {
      this.#unflushed = 0;
      await flush(this.#path);
    }
    return result;
  }

  #ask(thread: Worker): Promise<CheckpointResult> {
    return new Promise((resolve, reject) => {
      this.#settle = (answer) => {
        this.#settle = null;
        if ('ok' in answer) resolve(answer.ok);
        else reject(new Error(answer.error));
      };
      thread.postMessage('run');
    });
  }

  async end(): Promise<void> {
    clearTimeout(this.#idle);
    // What was begun during the wait is waited for, too.
    do {
      this.#thread?.postMessage('end');
      this.#thread = null;
      await this.#gone;
      await this.#running?.catch(() => undefined);
    } while (this.#thread !== null);
  }

  async #start(): Promise<Worker> {
    // Loaded here: most workers never come to it, and it would be a twentieth of what an idle one keeps.
    const { Worker } = await import('node:worker_threads');
    const workerData: ThreadData = { path: this.#path, inode: this.#inode };
    const thread = new Worker(THREAD_MAIN, { workerData });
    this.#thread = thread;
    let cause = 'the checkpoint thread has ended';
    thread.on('message', (answer: ThreadAnswer) => this.#settle?.(answer));
    thread.on('error', (error) => {
      cause = error.message;
    });
    this.#gone = new Promise((resolve) => {
      thread.on('exit', () => {
        if (this.#thread === thread) this.#thread = null;
        this.#settle?.({ error: cause });
        resolve();
      });
    });
    return thread;
  }
}

/**
 * Brings to disk what was written to the main file. SQLite does that only with a checkpoint that ends with nothing left to
 * do, and so would leave all of it to the one between two batches. In a process of its own, since this one would lose its
 * locks with the descriptor.
 */
async function flush(path: string): Promise<void> {
  const { execFile } = await import('node:child_process');
  await new Promise<void>((resolve) => {
    // Where it fails, the next checkpoint takes longer.
    execFile(process.execPath, ['-e', FLUSH, path], () => resolve());
  });
}

/** The number of the file at that path; empty if there is none. */
export function inodeOf(path: string): string {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino.toString() ?? '';
}

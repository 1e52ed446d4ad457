import { readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { Preload } from './preload.js';

/** What is called. `answer`: the first bytes that leave through a socket after something was written to the WAL. */
const CALLS = { write: 1, sync: 2, open: 4, answer: 8, truncate: 16 } as const;
const FILES = { main: 1, wal: 2, shm: 4, journal: 8 } as const;
const FIELDS = { call: 0, file: 4, fault: 8, skip: 12, times: 16, hits: 20, met: 24 } as const;
const BYTES = 28;
const KILL = -1;

/** A fault to come. */
export interface Fault {
  readonly on: keyof typeof CALLS;
  readonly file: keyof typeof FILES;
  /** What the call fails with, or that the process is killed right before it. */
  readonly with: 'EIO' | 'ENOSPC' | 'EACCES' | 'EMFILE' | 'SIGKILL';
  /** Calls that are let through first. Default 0. */
  readonly skip?: number;
  /** Calls that are hit; default: all, until {@link DiskFaults.none}. */
  readonly times?: number;
}

/** System calls that fail on command, on the files of one database, through test/fixtures/disk-faults.c. */
export class DiskFaults {
  readonly #control: string;
  readonly #db: string;
  readonly #preload: Preload;

  /** @param folder where the file goes through which the processes are told */
  constructor(preload: Preload, folder: string, db: string) {
    this.#preload = preload;
    this.#control = join(folder, 'disk-faults');
    this.#db = db;
    writeFileSync(this.#control, Buffer.alloc(BYTES));
  }

  /** For the daemon's environment. */
  get env(): NodeJS.ProcessEnv {
    return {
      LD_PRELOAD: this.#preload.library,
      DISK_FAULTS: this.#control,
      DISK_FAULTS_DB: this.#db,
    };
  }

  /** From now on. */
  set(fault: Fault): void {
    this.none();
    const bytes = Buffer.alloc(BYTES);
    bytes.writeInt32LE(FILES[fault.file], FIELDS.file);
    bytes.writeInt32LE(fault.with === 'SIGKILL' ? KILL : constants.errno[fault.with], FIELDS.fault);
    bytes.writeInt32LE(fault.skip ?? 0, FIELDS.skip);
    bytes.writeInt32LE(fault.times ?? -1, FIELDS.times);
    this.#write(bytes);
    // Last: it is what makes the others count.
    bytes.writeInt32LE(CALLS[fault.on], FIELDS.call);
    this.#write(bytes);
  }

  /** The disk is well again. */
  none(): void {
    this.#write(Buffer.alloc(4));
  }

  /** How many calls were hit. */
  get hits(): number {
    return readFileSync(this.#control).readInt32LE(FIELDS.hits);
  }

  /** In place: the processes have the file mapped. */
  #write(bytes: Buffer): void {
    writeFileSync(this.#control, bytes, { flag: 'r+' });
  }
}

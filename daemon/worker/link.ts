import { ProtocolError } from '../../protocol/errors.js';
import { HEADER_BYTES } from '../../protocol/frame.js';
import type {
  CheckpointMode,
  ErrorCode,
  ErrorReply,
  Limits,
  LockHolder,
  RequestId,
  TransactionStatus,
  WalStatus,
} from '../../protocol/messages.js';
import type { DatabaseFacts } from './file-facts.js';
import type { HistogramCounts } from './histogram.js';

/**
 * What router and worker say to each other, over one socket pair that the worker inherits as descriptor 3.
 *
 * A link frame has a fixed header and a payload. Clients' requests and the worker's replies travel as the payload's
 * own bytes: nobody writes them again. `tag` pairs a reply with its request; `lane` is the client connection a
 * request came on, so that the worker can keep each one's order and be fair between them.
 */
export const LinkKind = {
  /** router → worker: a client's `ExecBatch`, as it arrived. `number` is its deadline (0: none). */
  Request: 0,
  /** router → worker: an order of the router itself, as JSON. Lane 0 is served at once, others in their order. */
  Order: 1,
  /**
   * worker → router: the answer to `tag`. For a batch, `number` is the rev right after it, also where others were committed
   * with it: what the router has heard of is what it takes for answered if the worker dies.
   */
  Reply: 2,
  /**
   * worker → router: the payload's tags (u32 each) are being executed: if the worker dies, their outcome is open. They
   * share a transaction where that is possible. `number` is the database's rev before it; -1 while the file is not open.
   */
  Started: 3,
  /** worker → router: an event frame for whoever sent `tag`. */
  Event: 4,
  /** worker → router: something that nobody asked for, as JSON. */
  Notice: 5,
  /** router → worker: the client of this lane has gone. */
  LaneClosed: 6,
  /** router → worker: `number` bytes of replies have left for this lane's client. */
  Drained: 7,
  /**
   * worker → router: of those that were started, the statements of `tag` run now, until `number` at the latest. Tag 0 is an
   * attached client's batch; with number 0, one without a deadline, whoever's.
   */
  Running: 8,
  /**
   * worker → router: instead of a Reply: the frame of `tag` cannot be read, or came behind such a one on its connection,
   * which must end. Nothing of it was applied. The payload is the error.
   */
  Unreadable: 9,
  /** router → worker: as Request, for a batch that a worker had in hand when it died: it is executed by itself. */
  Suspect: 10,
  /** router → worker: as Request, for a client's `BeginTx`, `Exec`, `Commit` or `Rollback`. */
  Transaction: 11,
  /** router → worker: the client of this lane will send nothing more, but may still read answers. */
  LaneEnded: 12,
  /** router → worker: `tag` is wanted no more. If it waits it is refused with `CANCELLED`; what is in hand is left alone. */
  Cancel: 13,
} as const;
export type LinkKind = (typeof LinkKind)[keyof typeof LinkKind];

/** A frame of the link. */
export interface LinkFrame {
  readonly kind: LinkKind;
  readonly tag: number;
  readonly lane: number;
  readonly number: number;
  readonly payload: Buffer;
}

/** Replies from this size on are counted until they have left: smaller ones are bounded by their number. */
export const COUNTED_REPLY = 16 * 1024;

/** Milliseconds between two words to the router that attached clients are at work. */
export const USED_MS = 1_000;

const EMPTY = Buffer.alloc(0);
/** kind u8, tag u32, lane u32, number f64 */
const LINK_HEADER = 17;
/** Copied wherever it is written: an object for every frame would be most of the garbage. */
const header = Buffer.alloc(HEADER_BYTES + LINK_HEADER);

/** Largest frame on the link: both ends are ours, the bound only keeps a bug from eating the memory. */
export const MAX_LINK_FRAME = 0x7fff_ffff;

/** One frame as the buffers to write: a header that is overwritten with the next frame's, then the payload untouched. */
export function encodeLink(
  kind: LinkKind,
  tag: number,
  lane: number,
  number: number,
  payload: Buffer = EMPTY,
): Buffer[] {
  const head = linkHeader(kind, tag, lane, number);
  head.writeUInt32LE(LINK_HEADER + payload.length, 0);
  return payload.length === 0 ? [head] : [head, payload];
}

/** The header of a frame whose length is not known yet; overwritten with the next frame's. */
export function linkHeader(kind: LinkKind, tag: number, lane: number, number: number): Buffer {
  header.writeUInt8(kind, 4);
  header.writeUInt32LE(tag, 5);
  header.writeUInt32LE(lane, 9);
  header.writeDoubleLE(number, 13);
  return header;
}

/** The inverse, for a payload that FrameDecoder cut out. */
export function decodeLink(frame: Buffer): LinkFrame {
  return {
    kind: frame.readUInt8(0) as LinkKind,
    tag: frame.readUInt32LE(1),
    lane: frame.readUInt32LE(5),
    number: frame.readDoubleLE(9),
    payload: frame.subarray(LINK_HEADER),
  };
}

/** @param reply the worker's to a frame that cannot be read: the connection on which it came must end with this */
export function unreadableError(reply: string | Buffer): ProtocolError {
  return new ProtocolError('PROTOCOL_ERROR', (JSON.parse(String(reply)) as ErrorReply).message);
}

/** Milliseconds on the clock that all processes of this machine share (CLOCK_MONOTONIC and its like). */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

/** Where a database stands: its identity and how far it has come. */
export interface Position {
  /** uuid kept in the database; null while it has none yet. */
  readonly id: string | null;
  readonly epoch: number;
  readonly rev: number;
}

/** What a worker is told first: which database it serves, and how. */
export interface WorkerOptions {
  readonly path: string;
  readonly endpoint: string;
  /** Where to listen when clients of its own are to come: a name that no other database has had. */
  readonly socket: string;
  readonly routerPid: number;
  readonly durability: 'normal' | 'full';
  /** Milliseconds to wait for another program's write lock. */
  readonly busyTimeoutMs: number;
  /** Milliseconds without a request after which it offers to leave; 0 for never. */
  readonly idleTimeoutMs: number;
  /** Milliseconds after its last batch until a session's outcomes are forgotten; 0 for never. */
  readonly sessionTtlMs: number;
  /** Bytes that the WAL should not exceed. */
  readonly walLimit: number;
  /** Bytes of the file that SQLite maps into memory; undefined for SQLite's own default. */
  readonly mmapSize?: number;
  /** Milliseconds without use, and in all, after which a client's transaction is rolled back. */
  readonly txLeaseMs: number;
  readonly txMaxMs: number;
  readonly limits: Limits;
  /** Milliseconds for a batch that does not say how many; 0 for no limit. */
  readonly batchTimeoutMs: number;
  /** Bytes of unanswered requests of all attached clients together. */
  readonly maxIntakeBytes: number;
  /** A missing file is an error: no batch makes it. */
  readonly mustExist?: boolean;
  /** The only lane whose batches may write: the catalog is the router's. */
  readonly onlyWriter?: number;
  /** Whether it is to tell of each commit from the start. */
  readonly watched: boolean;
  /** The last position that the router knows; null if it never saw the database. */
  readonly known: Position | null;
  /** How the last worker left the files, while somebody watches: what is different, others have done. */
  readonly left?: DatabaseFacts | undefined;
}

/** The router's orders. Each is answered by a Reply: `{ok: …}` or `{error: …}`. */
export type Order =
  /** The first one, and again after `close`: which database to serve. */
  | { readonly op: 'serve'; readonly options: WorkerOptions }
  /** Where the database stands now. */
  | { readonly op: 'position' }
  | { readonly op: 'stats' }
  /** Tell of each commit from now on, or no more; where the database stands. */
  | { readonly op: 'watch'; readonly on: boolean }
  | { readonly op: 'checkpoint'; readonly mode: CheckpointMode }
  /** Make the file, with this identity. Done already: nothing. */
  | { readonly op: 'create'; readonly id: string; readonly epoch: number }
  /** Listen for clients of its own; where, and where the database stands. */
  | { readonly op: 'listen' }
  /** Finish the queue, send attached clients to the router, then bring the whole WAL into the main file. */
  | { readonly op: 'prepare'; readonly timeoutMs: number }
  /**
   * Finish the queue, empty the WAL if there are milliseconds for it, and close the file. Answered with the worker's last
   * figures, and with how it leaves the files if somebody watches. The process can be told to serve again, or leaves when its link ends.
   */
  | { readonly op: 'close'; readonly timeoutMs: number }
  /** Open a file that may be another one than before: check it, and raise the epoch unless it is unchanged. */
  | { readonly op: 'reopen'; readonly unchanged: boolean; readonly wasEmpty: boolean }
  | {
      readonly op: 'backup';
      readonly to: string;
      /** Its name until it is whole. */
      readonly partial: string;
      readonly overwrite: boolean;
      readonly id?: RequestId;
    }
  /** Copy a new file beside the database and check it. Nothing of the database is touched. */
  | {
      readonly op: 'stage';
      readonly from: string;
      readonly staged: string;
      readonly id?: RequestId;
    }
  /** Put the staged file in the place of the closed one, which stood at `known` and is kept as `backup`; raise the epoch. */
  | { readonly op: 'swap'; readonly staged: string; readonly backup: string; readonly known: Position };

/** What a worker says unasked. */
export type Notice =
  | { readonly event: 'ready' }
  /** Opened, or its identity or epoch has changed. */
  | { readonly event: 'opened'; readonly position: Position }
  /** It has this file open, whatever its path leads to by now. Of one that it has made: once something was committed. */
  | { readonly event: 'file'; readonly dev: string; readonly ino: string }
  /** Attached clients use the database. Said again every {@link USED_MS} while they do. */
  | { readonly event: 'used' }
  /** So many transactions of clients are open. Said when the first has begun, and when the last has ended. */
  | { readonly event: 'transactions'; readonly open: number }
  /** Nothing to do for the idle time: it leaves when the router says `close`. */
  | { readonly event: 'idle' }
  | CommitNotice
  | WalNotice
  | {
      readonly event: 'log';
      readonly level: 'info' | 'warn' | 'error';
      readonly message: string;
      readonly [detail: string]: unknown;
    };

/** What one transaction has committed, before its answers. Only while somebody watches. */
export interface CommitNotice {
  readonly event: 'committed';
  readonly epoch: number;
  /** The first of its revs. */
  readonly first: number;
  /** Another program has written something before. */
  readonly foreign: boolean;
  /** What was written to, for each rev in turn; null where that cannot be told. */
  readonly tables: readonly (readonly string[] | null)[];
}

/** Others keep the WAL beyond its limit, or do so no more. */
export type WalNotice =
  | {
      readonly event: 'wal';
      readonly blocked: true;
      readonly bytes: number;
      readonly limit: number;
      /** Empty where the system does not tell. */
      readonly holders: readonly LockHolder[];
    }
  | {
      readonly event: 'wal';
      readonly blocked: false;
      readonly limit: number;
      /** Bytes it had at its longest. */
      readonly most: number;
      /** Milliseconds for which it was so. */
      readonly ms: number;
    };

/** A client's transaction, and whose it is: only the router knows what its own clients have said of themselves. */
export interface OpenTransactionStatus extends TransactionStatus {
  readonly lane: number;
}

/** What a worker counts of its database: it only rises, and adds up with what other workers have counted. */
export interface WorkerCounts {
  readonly batches: number;
  readonly failed: number;
  readonly commits: number;
  readonly checkpoints: number;
  /** Errors that were sent to clients. */
  readonly errors: { readonly [code in ErrorCode]?: number };
  /** Microseconds from a batch's arrival to its answer. */
  readonly latency: HistogramCounts;
  /** Microseconds from a batch's arrival to the beginning of its group. */
  readonly queue: HistogramCounts;
  /** Batches that were done together. */
  readonly groups: HistogramCounts;
  /** Microseconds of a transaction up to its COMMIT. */
  readonly execute: HistogramCounts;
  /** Microseconds of COMMIT, where something was written. */
  readonly commit: HistogramCounts;
  /** Microseconds of a checkpoint that batches may have waited for. */
  readonly checkpointWait: HistogramCounts;
}

/** Figures of one database, as its worker knows them. */
export interface WorkerStats extends WorkerCounts {
  readonly queueDepth: number;
  /** Attached clients. */
  readonly clients: number;
  /** null while no file is open. */
  readonly wal: WalStatus | null;
  readonly transactions: readonly OpenTransactionStatus[];
  readonly rev: number;
  readonly epoch: number;
}

/** How a service speaks to its router. */
export interface Outlet {
  /** What is sent in one turn of the event loop leaves together. */
  send(kind: LinkKind, tag: number, lane: number, number: number, payload?: string | Buffer): void;
  /** Says something unasked. */
  notice(notice: Notice): void;
  /** Writes what was sent. Until all of it is out, so that it arrives even if this process dies; undefined when it is out already. */
  flushed(): Promise<void> | undefined;
  /**
   * The database is closed: what comes from now on is another one's, or too late.
   * @param goodbye settles when its clients have got their last answers: until then the process must not leave
   */
  closed(goodbye: Promise<void>): void;
}

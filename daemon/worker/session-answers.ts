import { SkylineError } from '../../protocol/errors.js';
import type { ErrorReply, Limits, RequestId } from '../../protocol/messages.js';
import type { Turn } from './batch.js';
import type { Position } from './link.js';
import { okReply } from './reply.js';
import { fromLine, type OutcomeRecord, type Session, toLine } from './session-table.js';

/** What a batch is answered from its session alone, without running. */

/** What is answered without running a batch. */
export type Settled = { readonly reply: string } | { readonly error: SkylineError };

/** Before its results a reply has only numbers, so that their name is found where they begin. */
export function withoutResults(line: string): string {
  const { seq, body, kind, text } = fromLine(line);
  const end = kind === 'ok' ? text.indexOf(',"results":') : -1;
  return end < 0 ? line : toLine(seq, body, 'cut', text.slice(0, end));
}

/** The answer to a batch that was settled before: as it was recorded, with the id of who asks now. */
export function replay(record: OutcomeRecord, id: RequestId | undefined, limits: Limits): Settled {
  const { line } = record;
  const { seq, kind, text } = fromLine(line);
  if (kind === 'error') {
    const { code, message, details, ...rest } = JSON.parse(text) as ErrorReply & { details: object };
    return { error: new SkylineError(code, message, { ...rest, details: { ...details, replayed: true } }) };
  }
  if (kind === 'begun') {
    return {
      error: new SkylineError(
        'WORKER_CRASHED',
        `The database's worker died in the middle of this batch (seq ${seq}): its first ${text} statements are applied, the others are not and will not be. Look, then send what is missing with a new seq.`,
        { outcome: 'partial', details: { applied: Number(text), replayed: true } },
      ),
    };
  }
  const reply = okReply(id, `"replayed":true,${text}${kind === 'cut' ? ',"results_omitted":true' : ''}`);
  if (reply.length * 3 <= limits.max_frame || Buffer.byteLength(reply) <= limits.max_frame) return { reply };
  const bare = withoutResults(line);
  return bare === line ? { reply } : replay({ ...record, line: bare }, id, limits);
}

/** Why a batch of which nothing is recorded is not run; null when it is its turn. */
export function refusal(turn: Turn, session: Session | null, at: Position): SkylineError | null {
  const { seq } = turn;
  if (session !== null && seq <= session.acked) {
    return conflict(
      `seq ${seq} of this session is settled: its answer was acknowledged, or is too old to be kept. It is not run again.`,
      'unknown',
    );
  }
  if (turn.database !== undefined && turn.database !== at.id) {
    return conflict(
      `The session knows another database than the one that is in its place (${at.id}), where this batch was not applied. Read again; then begin a new session.`,
      'unknown',
    );
  }
  if (turn.epoch !== undefined && turn.epoch !== at.epoch) {
    return new SkylineError(
      'SESSION_CONFLICT',
      `The session knows this database at epoch ${turn.epoch}, but it was replaced: it is at epoch ${at.epoch}, where this batch was not applied. Read again; then begin a new session.`,
      { details: { expected: turn.epoch, actual: at.epoch } },
    );
  }
  if (turn.rev !== undefined && turn.rev > at.rev) {
    return new SkylineError(
      'SESSION_CONFLICT',
      `The session knows this database at rev ${turn.rev}, but it is at rev ${at.rev}: an older copy has taken its place, where this batch was not applied. Read again; then begin a new session.`,
      { details: { expected: turn.rev, actual: at.rev } },
    );
  }
  if (session !== null && seq <= session.last) {
    return conflict(
      `seq ${seq} of this session was not applied, but seq ${session.last} was: it would come too late. Send it with a new seq.`,
      'not_applied',
    );
  }
  return null;
}

export function otherBody({ seq }: Turn): SkylineError {
  return conflict(
    `seq ${seq} of this session was used for another batch. This one was not applied: send it with a new seq.`,
    'not_applied',
  );
}

function conflict(message: string, outcome: 'not_applied' | 'unknown'): SkylineError {
  return new SkylineError('SESSION_CONFLICT', message, { outcome });
}

/** The answer to `only_replay` when there is nothing to replay. */
export function givenUp({ seq, commit }: { seq: number | undefined; commit?: true }): SkylineError {
  if (commit === true)
    return new SkylineError(
      'TX_EXPIRED',
      `Nothing is recorded of this commit (seq ${seq} of its session): the transaction was not committed, and will not be. Begin a new one.`,
    );
  return new SkylineError(
    'TIMEOUT',
    `Nothing is recorded of seq ${seq} of this session: it was not applied, and is given up (only_replay). To have it done, send it with a new seq.`,
  );
}

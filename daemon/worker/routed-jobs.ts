import { ProtocolError } from '../../protocol/errors.js';
import { decodeText } from '../../protocol/frame.js';
import { type BatchJob, type OrderJob, ParsedFrame, type TransactionJob } from './intake.js';
import { type LinkFrame, LinkKind, type Order, type Outlet } from './link.js';

/** What the router has sent, as jobs whose answers go back to it. */

export function routedBatch({ kind, tag, lane, number, payload }: LinkFrame, outlet: Outlet): BatchJob {
  return {
    kind: 'batch',
    lane,
    tag,
    alone: kind === LinkKind.Suspect,
    frame: payload,
    bytes: payload.length,
    deadline: number,
    received: performance.now(),
    settle: (reply, rev, unreadable) =>
      outlet.send(unreadable ? LinkKind.Unreadable : LinkKind.Reply, tag, lane, rev, reply),
  };
}

/** One that is no JSON waits as a batch would, which ends the connection when its turn comes. */
export function routedTransaction(frame: LinkFrame, outlet: Outlet): TransactionJob | BatchJob {
  const job = routedBatch(frame, outlet);
  try {
    return { ...job, kind: 'transaction', frame: new ParsedFrame(decodeText(frame.payload)) };
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return job;
  }
}

export function routedOrder({ tag, lane, payload }: LinkFrame, outlet: Outlet): OrderJob {
  return {
    kind: 'order',
    lane,
    order: JSON.parse(payload.toString('utf8')) as Order,
    settle: (answer, rev) => outlet.send(LinkKind.Reply, tag, lane, rev, Buffer.from(JSON.stringify(answer))),
    event: (event) => outlet.send(LinkKind.Event, tag, lane, 0, event),
  };
}

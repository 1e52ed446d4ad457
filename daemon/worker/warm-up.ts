import { decodeExecBatch } from '../../protocol/decode-exec-batch.js';
import type { Limits } from '../../protocol/messages.js';
import { Guard } from './batch.js';
import { rehearse } from './execute.js';
import { ParsedFrame } from './intake.js';
import { START } from './position-table.js';

const BATCH = JSON.stringify({
  type: 'ExecBatch',
  id: 1,
  stmts: [
    { sql: 'CREATE TABLE IF NOT EXISTS stars (id INTEGER PRIMARY KEY, name TEXT)' },
    { sql: 'INSERT INTO stars (name) VALUES (?)', params: ['Vega'] },
  ],
});

/** Enough for that batch. */
const LIMITS: Limits = {
  max_frame: 1e6,
  max_statements: 10,
  max_parameters: 10,
  max_sql_bytes: 1e6,
  max_result_bytes: 1e6,
  max_in_flight: 1,
  max_session_result_bytes: 0,
  max_sessions: 0,
  max_connections: 0,
  max_subscriptions: 0,
  max_daemon_subscriptions: 0,
};

/**
 * Runs a batch on a database in memory, while this process serves none: SQLite is loaded with the first connection, and V8
 * compiles a function when it is called first. Otherwise the first batch of the next database would wait for both.
 */
export function warmUp(): void {
  const frame = new ParsedFrame(BATCH);
  const batch = new Guard().check(decodeExecBatch(frame.object, LIMITS), frame);
  rehearse(batch, { position: START, limits: LIMITS, durability: 'normal' }, ':memory:');
}

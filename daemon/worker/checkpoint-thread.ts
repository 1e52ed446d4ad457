import { parentPort, workerData } from 'node:worker_threads';
import Database from 'better-sqlite3';
import { messageOf } from '../../protocol/errors.js';
import { type CheckpointResult, checkpoint } from './checkpoint.js';
import { inodeOf, type ThreadAnswer, type ThreadData } from './far-checkpoint.js';

/** The thread of far-checkpoint.ts: runs a passive checkpoint whenever it is told to, until it is told to end. */
const { path, inode } = workerData as ThreadData;
let db: Database.Database | null = null;

function run(): CheckpointResult {
  if (db === null) {
    // Opened by its name: a file that was put there meanwhile would be given the other one's WAL.
    if (inodeOf(path) !== inode) throw new Error(`${path} is another file than the one that is open`);
    db = new Database(path, { fileMustExist: true, timeout: 0 });
    db.pragma('wal_autocheckpoint = 0');
    db.pragma('synchronous = normal');
  }
  return checkpoint(db, 'passive');
}

parentPort?.on('message', (what: 'run' | 'end') => {
  if (what === 'end') {
    db?.close();
    parentPort?.close();
    return;
  }
  let answer: ThreadAnswer;
  try {
    answer = { ok: run() };
  } catch (error) {
    answer = { error: messageOf(error) };
  }
  parentPort?.postMessage(answer);
});

/** Answers each frame with one of the same size as the daemon's, and does nothing else. argv: the socket's path. */
import { createServer } from 'node:net';
import { encodeFrame, FrameReader } from './frames.mjs';

let answered = 0;
createServer((socket) => {
  const reader = new FrameReader((text) => {
    const { id, type } = JSON.parse(text);
    if (type === 'Count') return void answers.push(encodeFrame(JSON.stringify({ id, answered })));
    answered += 1;
    answers.push(
      encodeFrame(
        JSON.stringify({
          status: 'ok',
          id,
          rows_affected: 1,
          last_insert_rowid: answered,
          results: [{ rows_affected: 1, last_insert_rowid: answered }],
          rev: answered,
          epoch: 1,
        }),
      ),
    );
  });
  /** @type {Buffer[]} */
  const answers = [];
  socket.on('data', (chunk) => {
    reader.take(chunk);
    socket.write(Buffer.concat(answers));
    answers.length = 0;
  });
  socket.on('error', () => socket.destroy());
}).listen(process.argv[2], () => process.stdout.write('ready\n'));

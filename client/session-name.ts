/** Names made so far by this process, or thread. */
let made = 0;

/**
 * A session's name, which nobody else has. Nobody is kept out by it, so it need not be unguessable: the process, the time and 52
 * random bits make it one of its kind. Node's own `randomUUID` would do, too, but a command line would spend milliseconds on loading
 * `node:crypto` for it.
 */
export function newSessionName(): string {
  made += 1;
  const random = Math.floor(Math.random() * Number.MAX_SAFE_INTEGER);
  return [process.pid, Math.floor(performance.timeOrigin * 1000), random, made]
    .map((part) => part.toString(36))
    .join('-');
}

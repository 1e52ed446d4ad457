/** Names made so far by this process, or thread. */
let made = 0;

/**
 * A session's name, which nobody else has. Nobody is kept out by it, so it need not be unguessable: the process, the time and 52
 * random bits make it one of its kind. Node's own `randomUUID` would do, but loading what it needs takes a command line as long as
 * its batch does.
 */
export function newSessionName(): string {
  made += 1;
  const random = Math.floor(Math.random() * Number.MAX_SAFE_INTEGER);
  return [process.pid, Math.floor(performance.timeOrigin * 1000), random, made]
    .map((part) => part.toString(36))
    .join('-');
}

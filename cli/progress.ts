import type { ProgressEvent } from '../protocol/messages.js';

type OnProgress = (event: ProgressEvent) => void;

/**
 * Shows the progress of some work on stderr while it lasts, if somebody is there to see it.
 * @param work gets no listener when nothing is shown
 */
export async function withProgress<T>(
  label: string,
  json: boolean,
  work: (listening: { onProgress?: OnProgress }) => Promise<T>,
): Promise<T> {
  if (json || process.stderr.isTTY !== true) return await work({});
  const { SingleBar } = await import('cli-progress');
  const bar = new SingleBar({
    format: `${label} [{bar}] {percentage}% {value}/{total} pages`,
    stream: process.stderr,
    clearOnComplete: true,
    // Otherwise Ctrl-C would leave the terminal without line wrapping.
    linewrap: true,
  });
  let started = false;
  try {
    return await work({
      onProgress: ({ pages_done: done, pages_total: total }) => {
        if (started) {
          bar.setTotal(total);
          bar.update(done);
        } else bar.start(total, done);
        started = true;
      },
    });
  } finally {
    if (started) bar.stop();
  }
}

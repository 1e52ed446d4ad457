import type { AdoptProgressEvent, ProgressEvent } from '../protocol/messages.js';

type OnProgress = (event: ProgressEvent) => void;

/**
 * Shows the progress of some work on stderr while it lasts, if somebody is there to see it.
 * @param work gets no listener when nothing is shown
 */
export function withProgress<T>(
  label: string,
  json: boolean,
  work: (listening: { onProgress?: OnProgress }) => Promise<T>,
): Promise<T> {
  return withBar(label, 'pages', json, (show) =>
    work(
      show === undefined
        ? {}
        : { onProgress: ({ pages_done: done, pages_total: total }) => show(done, total) },
    ),
  );
}

/** The same for files that get names. */
export function withAdoptProgress<T>(
  json: boolean,
  work: (listening: { onProgress?: (event: AdoptProgressEvent) => void }) => Promise<T>,
): Promise<T> {
  return withBar('Adopting', 'files', json, (show) =>
    work(
      show === undefined
        ? {}
        : { onProgress: ({ files_done: done, files_total: total }) => show(done, total) },
    ),
  );
}

type Show = (done: number, total: number) => void;

async function withBar<T>(
  label: string,
  unit: string,
  json: boolean,
  work: (show: Show | undefined) => Promise<T>,
): Promise<T> {
  if (json || process.stderr.isTTY !== true) return await work(undefined);
  const { SingleBar } = await import('cli-progress');
  const bar = new SingleBar({
    format: `${label} [{bar}] {percentage}% {value}/{total} ${unit}`,
    stream: process.stderr,
    clearOnComplete: true,
    // Otherwise Ctrl-C would leave the terminal without line wrapping.
    linewrap: true,
  });
  let started = false;
  try {
    return await work((done, total) => {
      if (started) {
        bar.setTotal(total);
        bar.update(done);
      } else bar.start(total, done);
      started = true;
    });
  } finally {
    if (started) bar.stop();
  }
}

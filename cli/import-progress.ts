import type { LoadProgress } from '../client/load.js';
import { bytes, span } from './format.js';
import type { ImportText } from './import-text.js';

type OnProgress = (progress: LoadProgress) => void;

/**
 * Shows on stderr how an import gets on while it lasts, if somebody is there to see it.
 * @param work gets no listener when nothing is shown
 */
export async function withImportProgress<T>(
  text: ImportText,
  json: boolean,
  work: (listening: { onProgress?: OnProgress }) => Promise<T>,
): Promise<T> {
  if (json || process.stderr.isTTY !== true) return await work({});
  const { SingleBar } = await import('cli-progress');
  const { size } = text;
  const share = size === undefined ? '' : ' [{bar}] {percentage}%';
  const bar = new SingleBar({
    format: `Importing${share} {rows} rows, {rate} rows/s, {read}{left}`,
    stream: process.stderr,
    clearOnComplete: true,
    // Otherwise Ctrl-C would leave the terminal without line wrapping.
    linewrap: true,
  });
  const began = performance.now();
  const shown = (rows: number) => {
    const seconds = (performance.now() - began) / 1000;
    const read = text.bytesRead;
    const ms = size === undefined || read === 0 ? undefined : (seconds * 1000 * (size - read)) / read;
    return {
      rows,
      rate: Math.round(rows / seconds),
      read: bytes(read),
      left: ms === undefined ? '' : `, ${span(ms)} left`,
    };
  };
  bar.start(size ?? 0, 0, shown(0));
  try {
    return await work({ onProgress: ({ rows }) => bar.update(text.bytesRead, shown(rows)) });
  } finally {
    bar.stop();
  }
}

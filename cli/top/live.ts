import { setTimeout as sleep } from 'node:timers/promises';
import { BY_SIGNAL } from '../errors.js';
import type { Screen } from '../output.js';
import type { Feed } from './feed.js';
import { press, START, type TopState } from './state.js';
import { FullScreen } from './terminal.js';
import { pageOf, view } from './view.js';

/**
 * The full screen, until somebody leaves.
 * @param intervalMs between two looks
 * @returns the exit code
 * @throws SkylineError when the daemon cannot be asked at all; the terminal is as it was by then
 */
export async function live(feed: Feed, intervalMs: number, { out }: Screen): Promise<number> {
  // Before the screen is taken: whatever is wrong from the beginning belongs to where the command was typed.
  const first = await feed.look();
  let state: TopState = { ...START, ...first };
  const ended = new AbortController();
  let exitCode = 0;
  const screen = new FullScreen(process.stdin, process.stdout, {
    key: (name) => {
      const next = press(state, name, pageOf(screen.size.rows));
      if (next === null) ended.abort();
      else {
        state = next;
        draw();
      }
    },
    redraw: () => draw(),
    end: (signal) => {
      exitCode = BY_SIGNAL[signal ?? ''] ?? 0;
      ended.abort();
    },
  });
  const draw = () => screen.draw(view(state, screen.size, out.colors));
  screen.begin();
  try {
    for (;;) {
      // The first look is followed by another one soon: rates need two.
      const pause = state.sample?.batches === null ? Math.min(intervalMs, 250) : intervalMs;
      const slept = await sleep(pause, true, { signal: ended.signal }).catch(() => false);
      if (!slept) return exitCode;
      const left = new Promise<null>((resolve) => {
        ended.signal.addEventListener('abort', () => resolve(null), { once: true });
      });
      const seen = await Promise.race([feed.look(), left]);
      if (seen === null) return exitCode;
      const sample = state.paused || seen.sample === null ? state.sample : seen.sample;
      state = { ...state, sample, message: seen.message };
      draw();
    }
  } finally {
    screen.end();
  }
}

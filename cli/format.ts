/** Figures as people read them. */

const SIZES = ['B', 'KB', 'MB', 'GB', 'TB'] as const;

/** `512 B`, `4.0 KB`, `1.5 GB`; 1 KB is 1024 B, as in the daemon's options. */
export function bytes(count: number): string {
  let value = count;
  let at = 0;
  while (value >= 1024 && at < SIZES.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at === 0 ? value : value.toFixed(1)} ${SIZES[at]}`;
}

/** The two largest units: `2 d 3 h`, `5 min 12 s`, `7 s`. */
export function span(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const parts: readonly (readonly [number, string])[] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  if (first < 0) return '0 s';
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(' ');
}

/** `850 µs`, `1.2 ms`, `3.0 s`. */
export function micros(us: number): string {
  if (us < 1000) return `${us} µs`;
  return us < 1_000_000 ? `${(us / 1000).toFixed(1)} ms` : `${(us / 1_000_000).toFixed(1)} s`;
}

/** `1 row`, `2 rows`. */
export function count(value: number, noun: string): string {
  return `${value} ${noun}${value === 1 ? '' : 's'}`;
}

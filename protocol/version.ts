/** The package's version, as in package.json (a test compares): reading that file would cost every start of a program. */
export const VERSION = '0.1.0';

/** Whether one version comes before another; by their numbers alone. */
export function isOlder(one: string, other: string): boolean {
  const [a, b] = [one, other].map((version) => version.split('-')[0]?.split('.').map(Number) ?? []);
  for (let at = 0; at < 3; at += 1) {
    const difference = (a?.[at] ?? 0) - (b?.[at] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

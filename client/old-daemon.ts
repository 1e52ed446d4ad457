/** Whether one version comes before another; by their numbers alone. */
export function isOlder(one: string, other: string): boolean {
  const [a, b] = [one, other].map((version) => version.split('-')[0]?.split('.').map(Number) ?? []);
  for (let at = 0; at < 3; at += 1) {
    const difference = (a?.[at] ?? 0) - (b?.[at] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

let warned = false;

/** Says once per process that the daemon which runs is older: it works, but without what is new. */
export function warnOfOldDaemon(
  daemon: { readonly version: string; readonly pid: number },
  ownVersion: string,
): void {
  if (warned || !isOlder(daemon.version, ownVersion)) return;
  warned = true;
  process.emitWarning(
    `The daemon that runs (pid ${daemon.pid}) is skylinedb ${daemon.version}, older than this client (${ownVersion}). After "skylinedb-cli shutdown" the next write starts the new one.`,
    { code: 'SKYLINEDB_OLD_DAEMON' },
  );
}

import { readFile, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Whether a file lies on another machine. SQLite's WAL is shared through memory, which two machines do not have in common, and
 * many network file systems do not keep its locks (https://sqlite.org/wal.html, https://sqlite.org/useovernet.html).
 */

/** By the `f_type` of statfs(2): linux/magic.h, and the sources of those that are not in it. */
const NETWORK: ReadonlyMap<number, string> = new Map([
  [0x6969, 'nfs'],
  [0x517b, 'smb'],
  [0xfe534d42, 'smb'],
  [0xff534d42, 'cifs'],
  [0x01021997, '9p'],
  [0x5346414f, 'afs'],
  [0x6b414653, 'afs'],
  [0x73757245, 'coda'],
  [0x564c, 'ncp'],
  [0x00c36400, 'ceph'],
  [0x01161970, 'gfs2'],
  [0x7461636f, 'ocfs2'],
  [0x0bd00bd0, 'lustre'],
  [0x47504653, 'gpfs'],
  [0x19830326, 'beegfs'],
  [0x20030528, 'orangefs'],
  [0x786f4256, 'vboxsf'],
  [0xbacbacbc, 'vmhgfs'],
]);

/** Programs that serve files: sshfs from another machine, ntfs-3g from a local disk. The mount's type says which. */
const FUSE = 0x65735546;
/** Those that are known to keep their files on this machine. */
const LOCAL_FUSE: ReadonlySet<string> = new Set([
  'fuseblk',
  'fuse.bindfs',
  'fuse.cryfs',
  'fuse.encfs',
  'fuse.exfat',
  'fuse.fuse-overlayfs',
  'fuse.gocryptfs',
  'fuse.mergerfs',
  'fuse.ntfs-3g',
  'fuse.portal',
  'fuse.squashfuse',
]);

/** What is asked of the system. */
export interface FileSystemLooks {
  readonly platform: NodeJS.Platform;
  /** `f_type` of the file system that holds the folder. */
  typeOf(folder: string): Promise<number>;
  /** The text of /proc/self/mountinfo: proc(5). */
  mounts(): Promise<string>;
}

const SYSTEM: FileSystemLooks = {
  platform: process.platform,
  typeOf: async (folder) => (await statfs(folder)).type,
  mounts: () => readFile('/proc/self/mountinfo', 'utf8'),
};

/**
 * The name of the network file system that holds a file; null when it is local, or the system does not tell. Linux tells; on
 * Windows the path may; macOS numbers its file systems anew with each start.
 * @param file its true path
 */
export async function networkFileSystem(
  file: string,
  { platform, typeOf, mounts }: FileSystemLooks = SYSTEM,
): Promise<string | null> {
  if (platform === 'win32') return /^(\\\\\?\\UNC\\|\\\\(?![?.]\\))/i.test(file) ? 'smb' : null;
  if (platform !== 'linux') return null;
  try {
    // Some systems give the number a sign.
    const type = (await typeOf(dirname(file))) >>> 0;
    if (type !== FUSE) return NETWORK.get(type) ?? null;
    const mount = mountTypeOf(file, await mounts()) ?? 'fuse';
    return LOCAL_FUSE.has(mount) ? null : mount;
  } catch {
    // Nothing is known: that is no warning.
    return null;
  }
}

/** The type of the mount that holds the path: the longest mount point, and of several at one place the last. */
function mountTypeOf(path: string, mountinfo: string): string | undefined {
  let longest = '';
  let type: string | undefined;
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const point = (before.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_all, octal) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const holds = point === '/' || path === point || path.startsWith(`${point}/`);
    if (point === '' || !holds || point.length < longest.length) continue;
    longest = point;
    type = after.split(' ')[0];
  }
  return type;
}

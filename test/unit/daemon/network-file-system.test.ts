import { expect, test } from 'vitest';
import { networkFileSystem } from '../../../daemon/network-file-system.js';

const FUSE = 0x65735546;
const MOUNTS = [
  '21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw',
  '40 21 0:40 / /home/me/far rw,nosuid shared:9 - fuse.sshfs me@host:/srv rw,user_id=1000',
  '41 21 8:17 / /media/usb\\040stick rw - fuseblk /dev/sdb1 rw',
  '42 40 0:42 / /home/me/far/near rw - fuse.gocryptfs /home/me/.plain rw',
  '43 21 0:43 / /shared rw - ext4 /dev/vdb rw',
  '44 21 0:44 / /shared rw - virtiofs shared rw',
  '45 21 0:45 / /home/me/f rw - fuse.rclone remote: rw',
].join('\n');

function nameOf(file: string, type: number, platform: NodeJS.Platform = 'linux', mounts = MOUNTS) {
  return networkFileSystem(file, { platform, typeOf: async () => type, mounts: async () => mounts });
}

test.each([
  ['nfs', 0x6969],
  ['smb', 0x517b],
  ['smb', 0xfe534d42],
  ['cifs', 0xff534d42],
  ['9p', 0x01021997],
  ['ceph', 0x00c36400],
  ['lustre', 0x0bd00bd0],
])('%s is known by its number %i, with a sign or without', async (name, type) => {
  expect(await nameOf('/data/x.db', type)).toBe(name);
  expect(await nameOf('/data/x.db', type | 0)).toBe(name);
});

test.each([
  ['ext4', 0xef53],
  ['tmpfs', 0x01021994],
  ['xfs', 0x58465342],
  ['btrfs', 0x9123683e],
  ['zfs', 0x2fc12fc1],
  ['overlay', 0x794c7630],
])('%s is local', async (_name, type) => {
  expect(await nameOf('/data/x.db', type)).toBeNull();
});

test.each([
  ['/home/me/far/x.db', 'fuse.sshfs'],
  ['/home/me/far/near/x.db', null],
  ['/media/usb stick/x.db', null],
  ['/shared/deep/x.db', 'virtiofs'],
  ['/home/me/f/x.db', 'fuse.rclone'],
])('what FUSE serves at %s is told by its mount: %s', async (file, name) => {
  expect(await nameOf(file, FUSE)).toBe(name);
});

test('FUSE without a mount that could be read is a network file system', async () => {
  expect(await nameOf('/x.db', FUSE, 'linux', '')).toBe('fuse');
  expect(await nameOf('/x.db', FUSE, 'linux', 'nonsense\n- - -\n')).toBe('fuse');
});

test.each([
  ['\\\\server\\share\\x.db', 'smb'],
  ['\\\\?\\UNC\\server\\share\\x.db', 'smb'],
  ['\\\\?\\C:\\x.db', null],
  ['\\\\.\\C:\\x.db', null],
  ['C:\\x.db', null],
])('on Windows the path tells: %s', async (file, name) => {
  expect(await nameOf(file, 0x6969, 'win32')).toBe(name);
});

test('where the system does not tell, there is nothing to warn of', async () => {
  expect(await nameOf('/x.db', 0x6969, 'darwin')).toBeNull();
  const broken = async () => {
    throw new Error('EIO');
  };
  expect(await networkFileSystem('/x.db', { platform: 'linux', typeOf: broken, mounts: broken })).toBeNull();
  expect(
    await networkFileSystem('/x.db', { platform: 'linux', typeOf: async () => FUSE, mounts: broken }),
  ).toBeNull();
});

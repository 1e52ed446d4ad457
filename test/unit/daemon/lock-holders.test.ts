import { expect, test } from 'vitest';
import { describeHolders, parseProcLocks, walReaders, writers } from '../../../daemon/worker/lock-holders.js';

/** As Linux 6 writes it. */
const PROC_LOCKS = `1: POSIX  ADVISORY  READ  4711 fe:00:131 124 124
2: POSIX  ADVISORY  WRITE 4712 00:2f:99887766 120 120
2: -> POSIX  ADVISORY  WRITE 4713 00:2f:99887766 120 120
3: FLOCK  ADVISORY  WRITE 812 fe:01:131 0 EOF
4: OFDLCK ADVISORY  READ  -1 fe:00:8 1073741826 1073742335
5: POSIX  ADVISORY  WRITE 4714 103:02:77 0 EOF
6: LEASE  ACTIVE    READ  99 fe:00:5 0 EOF
7: ACCESS ADVISORY  WRITE 98 fe:00:6 0 EOF
`;

test('POSIX and OFD locks are read; waiters, flock and leases are not', () => {
  expect(parseProcLocks(PROC_LOCKS)).toEqual([
    { pid: 4711, write: false, inode: '131', start: 124, end: 124 },
    { pid: 4712, write: true, inode: '99887766', start: 120, end: 120 },
    { pid: -1, write: false, inode: '8', start: 1073741826, end: 1073742335 },
    { pid: 4714, write: true, inode: '77', start: 0, end: Number.POSITIVE_INFINITY },
  ]);
});

test('an empty or unknown listing is no lock', () => {
  expect(parseProcLocks('')).toEqual([]);
  expect(parseProcLocks('something else\n\n1: POSIX\n')).toEqual([]);
});

test('where the system does not tell, nobody is named', () => {
  expect(walReaders('/no/such.db', 'darwin')).toEqual([]);
  expect(writers('/no/such.db', 'win32')).toEqual([]);
  expect(writers('/no/such.db', 'linux')).toEqual([]);
  expect(describeHolders([])).toBe('this system does not tell which process');
  expect(describeHolders([{ pid: 1 }, { pid: 2, command: 'sh -c x' }])).toBe('pid 1, pid 2 (sh -c x)');
});

/** What is read from the lines of strace. */
import { describe, expect, it } from 'vitest';
import { acknowledgedAfterFault, callSites } from '../src/syscalls/trace.ts';

describe('call sites', () => {
  it('are calls on paths in the directory, with how often one thread made them', () => {
    const trace = [
      '10 execve("/usr/bin/node", ["node", "/data/x"], 0x7ffd) = 0',
      '10 openat(AT_FDCWD, "/data/keys", O_RDONLY) = 17</data/keys>',
      '11 fsync(17</data/keys> <unfinished ...>',
      '10 read(3</etc/hosts>, "", 10) = 0',
      '11 <... fsync resumed>) = 0',
      '11 fsync(17</data/keys>) = 0',
      '12 fsync(17</data/keys>) = 0',
      '10 openat(AT_FDCWD, "/data-of-others/keys", O_RDONLY) = 18',
      '10 unlink("/data/lock.0123456789abcdef") = 0',
      '10 fsync(19</data>) = 0',
      '10 fsync(20</data/0000000000000001.seg>) = 0',
    ].join('\n');
    expect(callSites(trace, '/data')).toEqual([
      { call: 'openat', path: '/keys', times: 1 },
      { call: 'fsync', path: '/keys', times: 2 },
      { call: 'fsync', path: '', times: 1 },
      { call: 'fsync', path: '/0000000000000001.seg', times: 1 },
    ]);
  });
});

describe('an acknowledgement after a fault', () => {
  const fault = '11 fsync(17) = -1 EIO (Input/output error) (INJECTED)';
  const told = '10 write(1, "acknowledged write 2\\n", 21) = 21';

  it('is seen', () => {
    expect(acknowledgedAfterFault([fault, told].join('\n'))).toBe(true);
  });

  it('is none before it, and none without a fault', () => {
    expect(acknowledgedAfterFault([told, fault].join('\n'))).toBe(false);
    expect(acknowledgedAfterFault(told)).toBe(false);
  });
});

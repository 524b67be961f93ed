/** What `raftseal verify` does with certificates; what is in them is tested where they are made. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RaftsealError } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import { fingerprintOf, signStatement } from '../../src/certificate/sealing-certificate.ts';
import { temporaryDirectory } from '../temporary-directory.ts';
import { runCommand, servedNode } from './command-run.ts';

const seed = Buffer.alloc(32, 5);
const text = signStatement(
  {
    format: 'raftseal sealing certificate',
    version: 1,
    clusterId: '00112233445566778899aabbccddeeff',
    issuedAt: '2026-01-02T03:04:05.000Z',
    issuedBy: 'node-1',
    release: '1.2.3',
    sealedOnlyIndex: '12',
    keys: [
      { dekId: 17, purpose: 'raft', use: 'active' },
      { dekId: 18, purpose: 'raft', use: 'opens only' },
    ],
    members: [
      {
        nodeId: 'node-1',
        role: 'voter',
        release: '1.2.3',
        logs: [
          {
            shardId: 0,
            firstIndex: '5',
            lastIndex: '9',
            cutoverIndex: '3',
            cleartext: 0,
            sealed: { 17: 3, 18: 2 },
          },
        ],
        stores: [{ shardId: 0, cleartext: 0, sealed: { 19: 7 } }],
        files: [{ path: 'keys/keys.raftseal', bytes: 658, content: 'sidecar' }],
      },
    ],
    problems: [],
  },
  seed,
);
const fingerprint = fingerprintOf(seed);
const summary = [
  'cluster 00112233445566778899aabbccddeeff, stated 2026-01-02T03:04:05.000Z by node-1, raftseal 1.2.3',
  'sealed throughout, and sealed-only since index 12 of shard 0',
  'keys active: 17; opens only: 18; retired: -',
  '',
  'member  role   release  log entries  rows  in the clear  files  bytes',
  'node-1  voter  1.2.3    5            7     0             1      658',
  '',
  `signed by key ${fingerprint}`,
];

describe('raftseal verify --certificate', () => {
  it('writes what the cluster has signed, and shows it', async () => {
    const { operations, run } = await servedNode();
    operations.certificateText = text;
    const path = join(temporaryDirectory(), 'certificate');
    expect(await run(['verify', '--certificate', path])).toEqual({
      exitCode: 0,
      stdout: `${summary.join('\n')}\n`,
      stderr: '',
    });
    expect(await readFile(path, 'utf8')).toBe(text);
    const again = await run(['verify', '--certificate', path]);
    expect([again.exitCode, operations.calls]).toEqual([2, [['certificate']]]);
    expect(again.stderr).toMatch(/RAFTSEAL_NODE_OPTION: --certificate: .* \(EEXIST\)/);
    expect(await readFile(path, 'utf8')).toBe(text);
  });

  it('leaves no file where none is issued, or what comes is none', async () => {
    const { operations, run } = await servedNode();
    const path = join(temporaryDirectory(), 'certificate');
    const none = await run(['verify', '--certificate', path]);
    expect(none.stderr).toContain('RAFTSEAL_NODE_SEALING_CERTIFICATE');
    operations.failure = new RaftsealError('RAFTSEAL_NODE_CLEARTEXT_LEFT', '2 rows');
    const refused = await run(['verify', '--certificate', path]);
    expect(refused).toMatchObject({ exitCode: 1, stdout: '' });
    expect(refused.stderr).toContain('RAFTSEAL_NODE_CLEARTEXT_LEFT: 2 rows');
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('raftseal verify --check-certificate', () => {
  async function fileWith(content: string): Promise<string> {
    const path = join(temporaryDirectory(), 'certificate');
    await writeFile(path, content);
    return path;
  }

  const check = (path: string, ...more: string[]) =>
    runCommand(['verify', '--check-certificate', path, ...more]);

  it('needs neither node nor KEK, and says whose word it is', async () => {
    const path = await fileWith(text);
    expect(await check(path, '--fingerprint', fingerprint)).toEqual({
      exitCode: 0,
      stdout: `${[...summary, 'valid: signed by the key that was expected'].join('\n')}\n`,
      stderr: '',
    });
    const unpinned = await check(path);
    expect(unpinned.exitCode).toBe(0);
    expect(unpinned.stdout).toContain('valid for the key above: compare it with the fingerprint');
  });

  it('shows nothing of what was changed, or is of another signer', async () => {
    const changed = await check(await fileWith(text.replace('"17":3', '"17":4')));
    expect(changed).toMatchObject({ exitCode: 1, stdout: '' });
    expect(changed.stderr).toContain('its signature is not of its statement');
    const other = await check(await fileWith(text), '--fingerprint', 'ab'.repeat(32));
    expect(other).toMatchObject({ exitCode: 1, stdout: '' });
    expect(other.stderr).toContain('RAFTSEAL_NODE_SEALING_CERTIFICATE');
  });

  it.each([
    [['--fingerprint', 'ab'.repeat(32)]],
    [['--certificate', 'a', '--check-certificate', 'b']],
    [['--check-certificate', 'none-such']],
    [['--certificate', 'a', '--offline']],
    [['--check-certificate', 'b', '--json']],
  ])('takes no options that do not go together: %j', async (options) => {
    const { exitCode, stderr, stdout } = await runCommand(['verify', ...options]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain('RAFTSEAL_NODE_OPTION');
  });
});

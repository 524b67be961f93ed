import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { SIDECAR_FILE_NAME } from '@raftseal/sidecar';
import { describe, expect, it } from 'vitest';
import type { NodeStatus, ShardStatus } from '../../src/admin/operations.ts';
import { verificationText } from '../../src/cli/backup-command.ts';
import { parseWaves } from '../../src/cli/encryption-command.ts';
import { statusText } from '../../src/cli/status-command.ts';
import { reportText } from '../../src/cli/verify-command.ts';
import { KekSet } from '../../src/kek-set.ts';
import type { VerifyReport } from '../../src/verify/report.ts';
import {
  OperationsDouble,
  someBackup,
  someReceipt,
  someReport,
  someStatus,
} from '../admin/operations-double.ts';
import { leadingKeyNode, newCluster, newKek } from '../key-world.ts';
import { octal, temporaryDirectory } from '../temporary-directory.ts';
import { runCommand, servedNode } from './command-run.ts';

describe('raftseal status', () => {
  const now = { nowMs: Date.parse('2026-01-04T03:04:05.000Z') };

  it('shows node, shards and keys on one screen', () => {
    expect(statusText(someStatus, now).split('\n')).toEqual([
      'node node-1, raftseal 1.2.3, up 61 s, 3 clients',
      'encryption enabling (1 of 2 shards), values sealed',
      'KEK file:/etc/raftseal/kek',
      'KEK aws-kms:arn:1: out of reach (RAFTSEAL_KEK_UNAVAILABLE)',
      'backup monday of 2026-01-03T00:00:00.000Z, needs DEK 17',
      `certificates are signed by key ${'cd'.repeat(32)}`,
      `audit trail: 12 records, head ${'ab'.repeat(32)}`,
      '',
      'ALARM shard-halted: shard 1: RAFTSEAL_SHARD_GROUP_OPEN_FAILED',
      '',
      'shard  state                                     log        cutover  applied           durable  rows sealed  rows clear',
      '0      leading                                   sealed     3        9007199254740993  12       10           0',
      '1      halted: RAFTSEAL_SHARD_GROUP_OPEN_FAILED  cleartext  -        7                 7        0            2',
      'shard 0: 4 of 10 rows are under DEK 17, 61 s left',
      'shard 0: rows that do not open: 1',
      `  ${'0a'.repeat(32)} RAFTSEAL_ENVELOPE_INTEGRITY`,
      '',
      'dekId       purpose  use         age    nonce epoch  seals       left   wraps  next rotation',
      '4000000000  raft     active      2 d    2            2147483648  50 %   1      2026-04-02T03:04:05.000Z (age)',
      '17          raft     opens only  367 d  1            0           100 %  1      -',
      'retired: 5',
    ]);
  });

  it('shows what is due, and what holds it up', () => {
    const [key] = someStatus.keys;
    if (!key) throw new Error('there is a key');
    const shown = (heldUpBy: string | null): string => {
      const nextRotation = { cause: 'seals', at: null, heldUpBy } as const;
      return statusText({ ...someStatus, keys: [{ ...key, nextRotation }] }, now);
    };
    expect(shown(null)).toMatch(/due \(seals\)$/m);
    const code = 'RAFTSEAL_KEK_UNAVAILABLE';
    expect(shown(code)).toMatch(/held up \(seals\): RAFTSEAL_KEK_UNAVAILABLE$/m);
  });

  it('leaves out what there is not', () => {
    const nothing = { keks: [], keys: [], backups: [], alarms: [], certificateFingerprint: null };
    const text = statusText({ ...someStatus, ...nothing }, now);
    expect(text).toContain('KEK none');
    expect(text).not.toMatch(/dekId|backup|ALARM|retired|sealed only|signed/);
  });

  it('says from where on nothing in the clear is read, and that the trail is not written', () => {
    const audit = { records: 0, headHash: null, failure: 'ENOSPC' };
    const text = statusText({ ...someStatus, sealedOnlyIndex: '55', audit }, now);
    expect(text).toContain('values sealed, sealed only from 55 on\n');
    expect(text).toContain('audit trail: 0 records, head none, NOT WRITTEN (ENOSPC)\n');
  });

  it('asks the node, and prints text or JSON', async () => {
    const { run } = await servedNode();
    const { exitCode, stdout, stderr } = await run(['status']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    const withoutAges = (text: string): string => text.replaceAll(/\d+ d +/g, '');
    expect(withoutAges(stdout)).toBe(`${withoutAges(statusText(someStatus, now))}\n`);
    expect(JSON.parse((await run(['status', '--json'])).stdout)).toEqual(someStatus);
  });

  it('takes the token from the data directory, and says where it looked in vain', async () => {
    const { address } = await servedNode();
    const [, url = '', , tokenPath = ''] = address;
    const data = temporaryDirectory();
    await writeFile(join(data, 'admin.token'), await readFile(tokenPath), { mode: 0o600 });
    const found = await runCommand(['status', '--admin', url, '--data', data]);
    expect(found).toMatchObject({ exitCode: 0, stderr: '' });
    const lost = await runCommand(['status', '--admin', url, '--data', join(data, 'none')]);
    expect(lost.exitCode).toBe(1);
    expect(lost.stderr).toMatch(/^raftseal: RAFTSEAL_NODE_ADMIN_TOKEN: .*none\/admin\.token/);
    await writeFile(join(data, 'admin.token'), 'another-token-entirely', { mode: 0o600 });
    const wrong = await runCommand(['status', '--admin', url, '--data', data]);
    expect(wrong.stderr).toMatch(/^raftseal: RAFTSEAL_NODE_UNAUTHORIZED: /);
  });
});

describe('raftseal encryption enable', () => {
  /** Shards are sealed one after the other, one more at each look at the status. */
  class SealingNode extends OperationsDouble {
    sealed = 0;

    override status(): NodeStatus {
      this.sealed++;
      const shard = someStatus.shards[0] as ShardStatus;
      const shards = [0, 1, 2].map((shardId): ShardStatus => {
        if (shardId < this.sealed - 1) return { ...shard, shardId, cutoverIndex: `${shardId + 5}` };
        return { ...shard, shardId, log: 'cleartext', cutoverIndex: null };
      });
      return { ...someStatus, shards };
    }
  }

  it('follows the cutover shard by shard until all are sealed', async () => {
    const { operations, run } = await servedNode();
    const sealing = new SealingNode();
    operations.status = () => sealing.status();
    const end = await run(['encryption', 'enable', '--waves', '2/1']);
    expect(end).toMatchObject({ exitCode: 0, stderr: '' });
    expect(end.stdout.split('\n')).toEqual([
      'shard 0: sealed above index 5, writes waited 1.3 ms (1 of 3)',
      'shard 1: sealed above index 6, writes waited 1.3 ms (2 of 3)',
      'shard 2: sealed above index 7, writes waited 1.3 ms (3 of 3)',
      '',
    ]);
    expect(operations.calls).toEqual([['enableEncryption', [[2], [1]]]]);
  });

  it('ends with an error where a shard halts', async () => {
    const { run } = await servedNode();
    const end = await run(['encryption', 'enable']);
    expect(end.exitCode).toBe(1);
    expect(end.stdout).toMatch(/^shard 0: sealed above index 3/);
    expect(end.stderr).toMatch(
      /RAFTSEAL_NODE_SHARD_HALTED: shard 1 halted \(RAFTSEAL_SHARD_GROUP_OPEN_FAILED\)/,
    );
  });

  it('reads waves', () => {
    expect(parseWaves('1/2,3')).toEqual([[1], [2, 3]]);
    expect(parseWaves('7')).toEqual([[7]]);
    expect(parseWaves('0,10/3/2')).toEqual([[0, 10], [3], [2]]);
  });

  it.each(['', ',', '/', '1,', '/1', '1//2', '1,,2', '1 2', 'a', '-1', '1.5', '1/2,x'])(
    'asks nothing of the node for the waves %o',
    async (waves) => {
      expect(() => parseWaves(waves)).toThrow(
        expect.objectContaining({ code: 'RAFTSEAL_NODE_OPTION' }),
      );
      const { operations, run } = await servedNode();
      expect((await run(['encryption', 'enable', `--waves=${waves}`])).exitCode).toBe(2);
      expect(operations.calls).toEqual([]);
    },
  );
});

describe('raftseal rotate-dek', () => {
  it('names the new key', async () => {
    const { operations, run } = await servedNode();
    expect(await run(['rotate-dek', '--purpose', 'storage'])).toEqual({
      exitCode: 0,
      stdout: 'new active storage DEK 4294967294\n',
      stderr: '',
    });
    expect(operations.calls).toEqual([['rotate', 'storage']]);
  });

  it('asks nothing of the node for another purpose', async () => {
    const { operations, run } = await servedNode();
    const end = await run(['rotate-dek', '--purpose', 'certificate']);
    expect(end).toMatchObject({ exitCode: 2, stdout: '' });
    expect(end.stderr).toMatch(
      /RAFTSEAL_NODE_OPTION: --purpose: expected one of raft, storage, index/,
    );
    expect(operations.calls).toEqual([]);
  });
});

describe('raftseal rewrap-deks and kek use', () => {
  it('name the KEKs that the keys are under from now on', async () => {
    const { operations, run } = await servedNode();
    expect(await run(['rewrap-deks'])).toEqual({
      exitCode: 0,
      stdout: 'every data key is wrapped under file:/etc/raftseal/kek\n',
      stderr: '',
    });
    expect(await run(['kek', 'use', 'file:/a', 'env:B'])).toEqual({
      exitCode: 0,
      stdout: 'the node uses file:/a and env:B; start it with the same from now on\n',
      stderr: '',
    });
    expect(operations.calls).toEqual([['rewrap'], ['useKeks', ['file:/a', 'env:B']]]);
  });
});

describe('raftseal log inspect', () => {
  it('lists entries as a table or JSON', async () => {
    const { operations, run } = await servedNode();
    const end = await run(['log', 'inspect', '--shard', '1', '--from', '5', '--limit', '2']);
    expect(end.stdout.split('\n')).toEqual([
      'index  term  payload  dekId  kind  bytes',
      '5      1     sealed   17     -     90',
      '',
    ]);
    const json = await run(['log', 'inspect', '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject([{ index: '5', dekId: 17 }]);
    expect(operations.calls).toEqual([
      ['inspectLog', { shardId: 1, from: 5n, limit: 2 }],
      ['inspectLog', { shardId: 0, from: undefined, limit: 100 }],
    ]);
  });
});

describe('raftseal verify', () => {
  const report: VerifyReport = {
    clean: false,
    sealedThroughout: false,
    logs: [
      {
        shardId: 0,
        cutoverIndex: '3',
        firstIndex: '1',
        lastIndex: '9',
        cleartextData: 1,
        cleartextKeyLifecycle: 2,
        sealed: { 17: 4, 18: 2 },
      },
      {
        shardId: 1,
        cutoverIndex: null,
        firstIndex: null,
        lastIndex: null,
        cleartextData: 0,
        cleartextKeyLifecycle: 0,
        sealed: {},
      },
    ],
    stores: [{ shardId: 0, cleartextRows: 0, cleartextInFreePages: false, sealed: { 19: 7 } }],
    files: [{ path: 'core.123', bytes: 5, content: 'unknown' }],
    problems: ['core.123: not a file of raftseal'],
    cleartext: ['log of shard 0: 1 data entries in the clear (at or below 3)'],
  };

  it('shows what it read, what is in the clear, what is wrong, and a verdict', () => {
    expect(reportText(report).split('\n')).toEqual([
      'log      cutover  entries  key entries clear  data entries clear  sealed by DEK',
      'shard 0  3        1..9     2                  1                   17: 4, 18: 2',
      'shard 1  -        none     0                  0                   -',
      '',
      'store    rows clear  sealed by DEK',
      'shard 0  0           19: 7',
      '',
      'file      bytes  content',
      'core.123  5      unknown',
      '',
      'in the clear: log of shard 0: 1 data entries in the clear (at or below 3)',
      'PROBLEM: core.123: not a file of raftseal',
      'NOT CLEAN: 1 problems',
    ]);
  });

  it('says no more than it found', () => {
    const last = (changed: Partial<VerifyReport>): string | undefined =>
      reportText({ ...someReport, ...changed })
        .split('\n')
        .at(-1);
    expect(last({})).toBe('clean: everything is sealed, and opens');
    expect(last({ sealedThroughout: false })).toBe(
      'clean: what is sealed opens; the rest is named above',
    );
  });

  it('exits with 0 where all is clean, and with 3 where it is not', async () => {
    const { operations, run } = await servedNode();
    expect(await run(['verify'])).toEqual({
      exitCode: 0,
      stdout: `${reportText(someReport)}\n`,
      stderr: '',
    });
    operations.report = report;
    expect((await run(['verify'])).exitCode).toBe(3);
    const json = await run(['verify', '--json']);
    expect([json.exitCode, JSON.parse(json.stdout)]).toEqual([3, report]);
  });

  it('of a stopped node is refused where there is no data directory, and makes none', async () => {
    const data = join(temporaryDirectory(), 'none');
    const end = await runCommand(['verify', '--offline', '--data', data]);
    expect(end.exitCode).toBe(1);
    expect(end.stderr).toMatch(/^raftseal: RAFTSEAL_NODE_DATA_DIR: .*none/);
    await expect(stat(data)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('raftseal sidecar inspect', () => {
  it('shows the key state, and no key', async () => {
    const data = temporaryDirectory();
    const directory = join(data, 'keys');
    await mkdir(directory);
    const keks = KekSet.of(await newKek());
    const cluster = newCluster(['a'], [0]);
    const node = await leadingKeyNode({ cluster, shardIds: [0], keks, directory });
    await node.operations.enableEncryption();
    const end = await runCommand(['sidecar', 'inspect', '--data', data]);
    expect(end).toMatchObject({ exitCode: 0, stderr: '' });
    const { state } = node.keys;
    expect(JSON.parse(end.stdout)).toMatchObject({
      nodeId: 'a',
      mac: 'not checked',
      activeDekId: state.activeDekId,
      clusterId: Buffer.from(state.clusterId ?? []).toString('hex'),
    });
    for (const { wraps } of state.keys.values()) {
      for (const { bytes } of wraps) {
        for (const encoding of ['hex', 'base64', 'base64url'] as const) {
          expect(end.stdout).not.toContain(Buffer.from(bytes).toString(encoding));
        }
      }
    }
    const file = join(directory, SIDECAR_FILE_NAME);
    expect(await runCommand(['sidecar', 'inspect', '--file', file])).toEqual(end);
  });

  it('refuses what is no sidecar, or not there', async () => {
    const path = join(temporaryDirectory(), 'sidecar');
    const missing = await runCommand(['sidecar', 'inspect', '--file', path]);
    expect(missing.exitCode).toBe(2);
    expect(missing.stderr).toMatch(/RAFTSEAL_NODE_OPTION: .*ENOENT/);
    await writeFile(path, 'text');
    const other = await runCommand(['sidecar', 'inspect', '--file', path]);
    expect(other.exitCode).toBe(1);
    expect(other.stderr).toMatch(/RAFTSEAL_SIDECAR_/);
  });
});

describe('raftseal kek create', () => {
  it('makes 32 random bytes for their owner alone, and never replaces a file', async () => {
    const path = join(temporaryDirectory(), 'kek');
    expect(await runCommand(['kek', 'create', path])).toEqual({
      exitCode: 0,
      stdout: `made ${path}; start the node with --kek file:${path}\n`,
      stderr: '',
    });
    const key = await readFile(path);
    expect(key).toHaveLength(32);
    expect(octal((await stat(path)).mode)).toBe('600');
    const again = await runCommand(['kek', 'create', path]);
    expect(again.exitCode).toBe(1);
    expect(again.stderr).toMatch(/^raftseal: RAFTSEAL_KEK_FILE_EXISTS: /);
    expect(await readFile(path)).toEqual(key);
  });
});

describe('raftseal retire-dek', () => {
  it('says what needs a key, and changes nothing, with --dry-run', async () => {
    const { operations, run } = await servedNode();
    const asked = ['retire-dek', '--dek', '17', '--dry-run'];
    expect((await run(asked)).stdout).toBe('nothing needs DEK 17: it can be retired\n');
    operations.blockers = [{ kind: 'backup', backupId: 'monday' }];
    expect((await run(asked)).stdout).toMatch(/^DEK 17 is needed:\n- backup monday needs it/);
    expect(operations.calls).toEqual([
      ['retirementBlockers', 17],
      ['retirementBlockers', 17],
    ]);
  });

  it('writes the receipt to a new file, or prints it', async () => {
    const { operations, run } = await servedNode();
    const path = join(temporaryDirectory(), 'receipt.json');
    const line = 'DEK 17 (raft) is retired: 1 members and 1 logs hold nothing under it\n';
    const asked = ['retire-dek', '--dek', '17'];
    expect(await run([...asked, '--receipt', path])).toMatchObject({ exitCode: 0, stdout: line });
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual(someReceipt);
    expect(await run([...asked, '--receipt', path])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('RAFTSEAL_NODE_OPTION'),
    });
    const { stdout } = await run(asked);
    expect(stdout.startsWith(line)).toBe(true);
    expect(JSON.parse(stdout.slice(line.length))).toEqual(someReceipt);
    expect(operations.calls).toEqual([
      ['retire', 17],
      ['retire', 17],
    ]);
  });
});

describe('raftseal backup', () => {
  it('has the node take one, at a path that is absolute, and waits as long as it takes', async () => {
    const { operations, run } = await servedNode();
    const { stdout, exitCode } = await run(['backup', 'create', '--out', 'backups/1']);
    expect(exitCode).toBe(0);
    expect(operations.calls).toEqual([['createBackup', resolve('backups/1')]]);
    expect(stdout).toBe(`${someBackup.backupId}: 7 rows, 4096 bytes, in ${resolve('backups/1')}\n`);
    expect((await run(['backup', 'create'])).exitCode).toBe(2);
  });

  it('lists those whose keys are kept, and forgets one', async () => {
    const { operations, run } = await servedNode();
    const { stdout } = await run(['backup', 'list']);
    expect(stdout).toContain(`${someBackup.backupId}  ${someBackup.createdAt}  17 4294967294`);
    await run(['backup', 'forget', someBackup.backupId]);
    expect(operations.calls.at(-1)).toEqual(['forgetBackup', someBackup.backupId]);
  });

  it('says whether a backup can be restored, and why not', () => {
    const found = {
      backupId: 'b',
      clusterId: 'c',
      createdAt: 't',
      release: '1.2.3',
      keys: [{ dekId: 17, purpose: 'storage' as const }],
      kekUris: ['file:/kek'],
      shards: [{ shardId: 0, index: '7', bytes: 90, sealed: { 17: 2 } }],
      rows: 2,
      firstExpiryMs: null,
      contentDigest: 'ab',
      problems: [],
      restorable: true,
    };
    expect(verificationText(found)).toContain('can be restored: 2 rows, content ab');
    const text = verificationText({ ...found, problems: ['a flaw'], restorable: false });
    expect(text).toContain('PROBLEM: a flaw');
    expect(text).toContain('CANNOT BE RESTORED: 1 problems');
  });
});

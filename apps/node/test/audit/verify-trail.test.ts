import { createHash } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { verifyTrail } from '../../src/audit/verify-trail.ts';
import { runCommand } from '../cli/command-run.ts';
import { temporaryDirectory } from '../temporary-directory.ts';
import {
  applied,
  bootstrap,
  fileNames,
  linesOf,
  NODE_ID,
  newTrailDirectory,
  openTrail,
  recordsOf,
  rewriteLines,
  stateAt,
} from './trail-world.ts';

/** A trail with some of everything. */
async function someTrail(directory: string, fileBytesMax?: number): Promise<void> {
  const options = fileBytesMax === undefined ? {} : { fileBytesMax };
  const trail = await openTrail(directory, options);
  await trail.note(applied(1n, bootstrap));
  await trail.settle(stateAt([0, 4n]), 'adopted');
  for (let index = 5n; index <= 9n; index++) await trail.note(applied(index));
  const given = { purpose: 'raft' };
  const call = { method: 'POST', path: '/v1/keys/rotate', caller: 'certificate ann', given };
  await (await trail.call(call))('done');
  await trail.close();
}

function hashOf(line: string): string {
  return createHash('sha256').update(line).digest('hex');
}

describe('a trail as it was written', () => {
  it('is intact, and anchored by the hash of any of its records', async () => {
    for (const fileBytesMax of [undefined, 700]) {
      const directory = newTrailDirectory();
      await someTrail(directory, fileBytesMax);
      const lines = linesOf(directory);
      for (const [at, line] of lines.entries()) {
        const report = await verifyTrail({ directory, nodeId: NODE_ID, anchor: hashOf(line) });
        expect(report).toMatchObject({
          intact: true,
          nodeId: NODE_ID,
          clusterId: 'c1'.repeat(16),
          first: 1,
          records: lines.length,
          anchoredAt: at + 1,
          headHash: hashOf(lines.at(-1) ?? ''),
          gaps: [{ after: '1', through: '4', reason: 'adopted' }],
          problems: [],
        });
      }
    }
  });
});

describe('a trail that was changed', () => {
  it('invariant 7: shows any flipped bit, against the anchor of its head', async () => {
    const directory = newTrailDirectory();
    await someTrail(directory);
    const [name = ''] = fileNames(directory);
    const path = join(directory, name);
    const original = readFileSync(path);
    const anchor = (await verifyTrail({ directory })).headHash ?? '';
    const bit = fc.integer({ min: 0, max: original.length * 8 - 1 });
    await fc.assert(
      fc.asyncProperty(bit, async (at) => {
        const flipped = Buffer.from(original);
        flipped[at >> 3] = (flipped[at >> 3] ?? 0) ^ (1 << (at & 7));
        writeFileSync(path, flipped);
        expect((await verifyTrail({ directory, anchor })).intact).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  it('invariant 7: shows records that were deleted, moved, repeated or cut off', async () => {
    const directory = newTrailDirectory();
    await someTrail(directory);
    const lines = linesOf(directory);
    const anchor = hashOf(lines.at(-1) ?? '');
    const place = fc.nat({ max: lines.length - 1 });
    const changed = fc.oneof(
      place.map((at) => lines.toSpliced(at, 1)),
      place.map((at) => lines.toSpliced(at, 0, lines[at] ?? '')),
      place.map((at) => lines.slice(0, at)),
      fc.tuple(place, place).map(([a, b]) => lines.with(a, lines[b] ?? '').with(b, lines[a] ?? '')),
    );
    await fc.assert(
      fc.asyncProperty(changed, async (others) => {
        fc.pre(others.join() !== lines.join());
        rewriteLines(directory, () => others);
        expect((await verifyTrail({ directory, anchor })).intact).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  it('shows a file that was deleted, wherever it was', async () => {
    for (const at of [0, 1, 2, -1]) {
      const directory = newTrailDirectory();
      await someTrail(directory, 700);
      const anchor = (await verifyTrail({ directory })).headHash ?? '';
      const names = fileNames(directory);
      expect(names.length).toBeGreaterThan(3);
      rmSync(join(directory, names.at(at) ?? ''));
      expect((await verifyTrail({ directory, anchor })).intact, `file ${at}`).toBe(false);
    }
  });

  it('that was written anew from some record on is a chain again, and has lost its anchor', async () => {
    const directory = newTrailDirectory();
    await someTrail(directory);
    const anchor = (await verifyTrail({ directory })).headHash ?? '';
    rewriteLines(directory, (lines) => lines.slice(0, 5));
    const forger = await openTrail(directory);
    await forger.note(applied(30n));
    expect(await verifyTrail({ directory })).toMatchObject({ intact: true });
    expect(await verifyTrail({ directory, anchor })).toMatchObject({
      intact: false,
      problems: [expect.stringContaining(anchor)],
    });
  });

  it('or is of another node, says so', async () => {
    const directory = newTrailDirectory();
    await someTrail(directory);
    expect(await verifyTrail({ directory, nodeId: 'node-2' })).toMatchObject({ intact: false });
  });
});

describe('raftseal audit', () => {
  async function someData(): Promise<string> {
    const data = temporaryDirectory();
    await someTrail(join(data, 'audit'));
    return data;
  }

  it('verify says what it found, as text and as JSON, and ends with 3 where that is bad', async () => {
    const data = await someData();
    const head = hashOf(linesOf(join(data, 'audit')).at(-1) ?? '');
    const good = await runCommand(['audit', 'verify', '--data', data, '--anchor', head]);
    expect(good).toEqual({
      exitCode: 0,
      stderr: '',
      stdout:
        `node ${NODE_ID}, cluster ${'c1'.repeat(16)}\n` +
        `10 records in 1 files, from 1 on; head ${head}\n` +
        'as it was anchored up to record 10\n' +
        'no record: entries of shard 0 after 1, through 4 (adopted)\nintact\n',
    });
    rewriteLines(join(data, 'audit'), (lines) => lines.toSpliced(4, 1));
    const bad = await runCommand(['audit', 'verify', '--data', data]);
    expect(bad.exitCode).toBe(3);
    expect(bad.stdout).toMatch(/PROBLEM: line 5 of .*\nNOT INTACT: 1 problems\n$/);
    const json = await runCommand(['audit', 'verify', '--data', data, '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject({ intact: false });
    const wrong = await runCommand(['audit', 'verify', '--data', data, '--anchor', 'abc']);
    expect(wrong.stderr).toContain('RAFTSEAL_NODE_OPTION');
  });

  it('show prints the latest records', async () => {
    const data = await someData();
    const { stdout } = await runCommand(['audit', 'show', '--data', data, '--last', '3']);
    expect(stdout.split('\n').map((line) => line.replace(/ +\S+Z +/, ' ').trimEnd())).toEqual([
      'record  at                        kind    what',
      '8 entry   retire-dek at 9 of shard 0: applied {"dekId":9}',
      '9 call    POST /v1/keys/rotate {"purpose":"raft"} by certificate ann',
      '10 result  call 9: done',
      '',
    ]);
    const json = await runCommand(['audit', 'show', '--data', data, '--json']);
    expect(
      json.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual(recordsOf(join(data, 'audit')));
  });

  it('says where there is no trail', async () => {
    for (const command of ['verify', 'show']) {
      const { exitCode, stderr } = await runCommand([
        'audit',
        command,
        '--data',
        temporaryDirectory(),
      ]);
      expect(exitCode).toBe(1);
      expect(stderr).toContain('RAFTSEAL_NODE_DATA_DIR: expected an audit trail');
    }
  });
});

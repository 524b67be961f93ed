import { appendFileSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FILES_MAX } from '../../src/audit/audit-trail.ts';
import { NOTHING_BEFORE } from '../../src/audit/record.ts';
import { verifyTrail } from '../../src/audit/verify-trail.ts';
import { childProgram } from '../child-program.ts';
import { octal } from '../temporary-directory.ts';
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

const program = childProgram('audit/trail-child');

const call = { method: 'POST', path: '/v1/keys/rotate', caller: 'token 01234567', given: {} };

function kindsOf(directory: string): string[] {
  return recordsOf(directory).map((record) =>
    'index' in record ? `${record.kind} ${record.index}` : record.kind,
  );
}

describe('a new audit trail', () => {
  it('writes nothing before its first record, then for its owner alone', async () => {
    const directory = newTrailDirectory();
    const trail = await openTrail(directory);
    expect(trail.status()).toEqual({ records: 0, headHash: null, failure: null });
    await trail.settle(stateAt(), 'found at start');
    expect(() => statSync(directory)).toThrow('ENOENT');
    await trail.note(applied(1n, bootstrap));
    expect(octal(statSync(directory).mode)).toBe('700');
    const [name = ''] = fileNames(directory);
    expect(name).toBe(`${'1'.padStart(20, '0')}.jsonl`);
    expect(octal(statSync(join(directory, name)).mode)).toBe('600');
  });

  it('begins with node and cluster, and holds no credential and no wrap', async () => {
    const directory = newTrailDirectory();
    const trail = await openTrail(directory);
    await trail.note(applied(1n, bootstrap));
    const [first, second] = recordsOf(directory);
    expect(first).toMatchObject({
      sequence: 1,
      before: NOTHING_BEFORE,
      kind: 'begin',
      nodeId: NODE_ID,
      clusterId: 'c1'.repeat(16),
    });
    const kekUris = ['vault-transit:https://...@host/transit/keys/k'];
    expect(second).toMatchObject({
      kind: 'entry',
      entry: 'bootstrap',
      outcome: 'applied',
      facts: { keys: [{ dekId: 1, purpose: 'storage', kekUris }, {}, {}], writers: [NODE_ID] },
    });
    expect(linesOf(directory).join()).not.toContain('hunter2');
  });

  it('names its cluster later where admin calls come before the keys', async () => {
    const directory = newTrailDirectory();
    const trail = await openTrail(directory);
    await (await trail.call(call))('RAFTSEAL_NODE_NOT_BOOTSTRAPPED');
    await trail.note(applied(1n, bootstrap));
    expect(recordsOf(directory)[0]).toMatchObject({ kind: 'begin', clusterId: null });
    expect(await verifyTrail({ directory })).toMatchObject({
      intact: true,
      clusterId: 'c1'.repeat(16),
    });
  });
});

describe('entries in the audit trail', () => {
  it('are there once, over replays and processes', async () => {
    const directory = newTrailDirectory();
    for (const upTo of [2n, 4n, 4n]) {
      const trail = await openTrail(directory);
      for (let index = 1n; index <= upTo; index++) await trail.note(applied(index));
      await trail.close();
    }
    expect(kindsOf(directory)).toEqual(['begin', 'entry 1', 'entry 2', 'entry 3', 'entry 4']);
  });

  it('are there by shard', async () => {
    const directory = newTrailDirectory();
    const trail = await openTrail(directory);
    await trail.note(applied(9n));
    await trail.note(applied(2n, undefined, 1));
    await trail.note(applied(2n, undefined, 1));
    expect(kindsOf(directory)).toEqual(['begin', 'entry 9', 'entry 2']);
    expect(trail.recorded).toEqual(
      new Map([
        [0, 9n],
        [1, 2n],
      ]),
    );
  });

  it('are known one by one, in this process and in the next', async () => {
    const directory = newTrailDirectory();
    const trail = await openTrail(directory);
    for (const index of [3n, 7n, 9n]) await trail.note(applied(index));
    await trail.close();
    const again = await openTrail(directory);
    await again.note(applied(12n));
    const after = (index: bigint): bigint | undefined => again.recordedAfter(0, index);
    expect([0n, 3n, 8n, 9n, 12n].map(after)).toEqual([3n, 7n, 9n, 12n, undefined]);
    expect(again.recordedAfter(1, 0n)).toBeUndefined();
  });

  it('that came with the key state of another node are named as a gap, once', async () => {
    const directory = newTrailDirectory();
    const trail = await openTrail(directory);
    await trail.note(applied(3n));
    await trail.settle(stateAt([0, 3n]), 'adopted');
    await trail.settle(stateAt([0, 17n], [2, 5n]), 'adopted');
    await trail.settle(stateAt([0, 17n], [2, 5n]), 'adopted');
    await trail.note(applied(18n));
    await trail.close();
    const again = await openTrail(directory);
    await again.settle(stateAt([0, 19n], [2, 5n]), 'found at start');
    expect(recordsOf(directory).filter(({ kind }) => kind === 'gap')).toMatchObject([
      { shardId: 0, after: '3', through: '17', reason: 'adopted' },
      { shardId: 2, after: '0', through: '5', reason: 'adopted' },
      { shardId: 0, after: '18', through: '19', reason: 'found at start' },
    ]);
  });
});

describe('calls in the audit trail', () => {
  it('are there before they are acted on, and again with how they ended', async () => {
    const directory = newTrailDirectory();
    const trail = await openTrail(directory);
    const [first, second] = [await trail.call(call), await trail.call(call)];
    expect(kindsOf(directory)).toEqual(['begin', 'call', 'call']);
    await second('done');
    await first('RAFTSEAL_KEK_UNAVAILABLE');
    expect(recordsOf(directory).slice(3)).toMatchObject([
      { kind: 'result', call: 3, code: 'done' },
      { kind: 'result', call: 2, code: 'RAFTSEAL_KEK_UNAVAILABLE' },
    ]);
  });
});

describe('the files of the audit trail', () => {
  it('are bounded, and the chain goes on from one to the next and over processes', async () => {
    const directory = newTrailDirectory();
    let index = 0n;
    for (let process = 0; process < 3; process++) {
      const trail = await openTrail(directory, { fileBytesMax: 900 });
      for (let n = 0; n < 40; n++) await trail.note(applied(++index));
      await trail.close();
    }
    const names = fileNames(directory);
    expect(names).toHaveLength(FILES_MAX);
    for (const name of names) expect(statSync(join(directory, name)).size).toBeLessThan(1300);
    expect(recordsOf(directory)[0]).toMatchObject({ kind: 'continue', nodeId: NODE_ID });
    const report = await verifyTrail({ directory });
    expect(report).toMatchObject({ intact: true, problems: [], gaps: [] });
    expect(report.first).toBeGreaterThan(1);
    expect(kindsOf(directory).at(-1)).toBe('entry 120');
  });

  it('may end in the middle of a record, or be empty, after a crash', async () => {
    const directory = newTrailDirectory();
    const trail = await openTrail(directory);
    await trail.note(applied(1n));
    await trail.close();
    const [name = ''] = fileNames(directory);
    appendFileSync(join(directory, name), '{"sequence":3,"before":"');
    writeFileSync(join(directory, `${'3'.padStart(20, '0')}.jsonl`), '');
    expect(await verifyTrail({ directory })).toMatchObject({ intact: false });
    rmSync(join(directory, `${'3'.padStart(20, '0')}.jsonl`));
    expect(await verifyTrail({ directory })).toMatchObject({ intact: true, records: 2 });
    writeFileSync(join(directory, `${'3'.padStart(20, '0')}.jsonl`), '{"seq');
    const again = await openTrail(directory);
    await again.note(applied(1n));
    await again.note(applied(2n));
    expect(kindsOf(directory)).toEqual(['begin', 'entry 1', 'entry 2']);
    expect(await verifyTrail({ directory })).toMatchObject({ intact: true, files: 1 });
  });

  it('are refused where the last one was changed, or is of another node', async () => {
    const directory = newTrailDirectory();
    const trail = await openTrail(directory);
    for (let index = 1n; index <= 3n; index++) await trail.note(applied(index));
    await trail.close();
    const code = 'RAFTSEAL_NODE_AUDIT_CORRUPT';
    await expect(openTrail(directory, { nodeId: 'node-2' })).rejects.toMatchObject({ code });
    const lines = linesOf(directory);
    for (const changed of [
      lines.with(1, (lines[1] ?? '').replace('"dekId":1', '"dekId":7')),
      lines.toSpliced(2, 1),
      lines.toSpliced(1, 2, lines[2] ?? '', lines[1] ?? ''),
      lines.with(2, 'anything'),
      lines.slice(1),
    ]) {
      rewriteLines(directory, () => changed);
      await expect(openTrail(directory)).rejects.toMatchObject({
        code,
        message: expect.stringMatching(/^line \d of .*\.jsonl /),
      });
      expect(linesOf(directory)).toEqual(changed);
    }
    rewriteLines(directory, () => lines);
    await openTrail(directory);
  });
});

describe('an audit trail that cannot be written', () => {
  /** Puts something in the way of its folder, as a mount that went away; the result takes it out. */
  function obstruct(directory: string): () => void {
    renameSync(directory, `${directory}-away`);
    writeFileSync(directory, 'not a folder');
    return () => {
      rmSync(directory);
      renameSync(`${directory}-away`, directory);
    };
  }

  it('refuses calls, lets entries be applied, and names them as a gap when it is back', async () => {
    const directory = newTrailDirectory();
    const told: string[] = [];
    const trail = await openTrail(directory, {
      // Every record needs another file, which cannot be made.
      fileBytesMax: 1,
      onFailure: () => told.push('failure'),
      onRecovery: () => told.push('recovery'),
    });
    await trail.note(applied(1n));
    const restore = obstruct(directory);
    await trail.note(applied(2n));
    await trail.settle(stateAt([0, 2n]), 'adopted');
    expect(trail.status()).toMatchObject({ records: 2, failure: expect.any(String) });
    await expect(trail.call(call)).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_AUDIT_UNAVAILABLE',
    });
    await trail.note(applied(3n));
    await trail.settle(stateAt([0, 3n]), 'adopted');
    restore();
    await (await trail.call(call))('done');
    await trail.note(applied(4n));
    expect(trail.status().failure).toBe(null);
    expect(told).toEqual(['failure', 'recovery']);
    const gaps = recordsOf(directory).filter(({ kind }) => kind === 'gap');
    expect(gaps).toMatchObject([{ after: '1', through: '3', reason: 'not written' }]);
    expect(kindsOf(directory).filter((kind) => kind.startsWith('entry'))).toEqual([
      'entry 1',
      'entry 4',
    ]);
    expect(await verifyTrail({ directory })).toMatchObject({ intact: true, problems: [] });
  });

  it('says so at the next start where it did not come back before', async () => {
    const directory = newTrailDirectory();
    const trail = await openTrail(directory, { fileBytesMax: 1 });
    await trail.note(applied(1n));
    const restore = obstruct(directory);
    await trail.note(applied(2n));
    await trail.close();
    restore();
    const next = await openTrail(directory);
    await next.settle(stateAt([0, 2n]), 'found at start');
    expect(recordsOf(directory).at(-1)).toMatchObject({ kind: 'gap', after: '1', through: '2' });
  });
});

describe('a process that is killed', () => {
  it('leaves every record that it was told of, and the next one goes on behind them', async () => {
    const directory = newTrailDirectory();
    mkdirSync(dirname(directory), { recursive: true });
    for (let round = 0; round < 3; round++) {
      const child = program.start([directory]);
      let told = 0;
      for (let line = await child.line(); line !== undefined; line = await child.line()) {
        told = Number(line);
        if (told % 40 === 25) child.kill();
      }
      await child.ended;
      const report = await verifyTrail({ directory });
      expect(report).toMatchObject({ intact: true, gaps: [] });
      const entries = recordsOf(directory).flatMap((record) =>
        record.kind === 'entry' ? [Number(record.index)] : [],
      );
      expect(entries).toEqual(entries.map((_, at) => at + 1));
      expect(entries.length).toBeGreaterThanOrEqual(told);
    }
  });
});

import { fatalError } from '@raftseal/interface';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KeyLifecycleEntry } from '../src/index.ts';
import {
  bootstrapEntry,
  bootstrapped,
  Disk,
  Process,
  registration,
  registrationOf,
  rotation,
} from './world.ts';

const fatally = (code: string): unknown => expect.objectContaining({ code, fatal: true });
const refused = (code: string): unknown => expect.objectContaining({ code, fatal: false });

describe('claiming a nonce epoch', () => {
  it('takes epoch 1 of a key that was made while this process ran, without a write', async () => {
    const process = await bootstrapped();
    const writes = process.sidecarWrites;
    expect(await process.lifecycle.claimNonceEpoch(1)).toMatchObject({
      writerId: 1,
      nonceEpoch: 1,
    });
    expect(process.sidecarWrites).toBe(writes);
    expect(process.lifecycle.isRegistered(1)).toBe(true);
  });

  it('START-14: writes the next epoch before it is returned, in every later process', async () => {
    const disk = new Disk();
    await bootstrapped(disk);
    for (const nonceEpoch of [2, 3, 4]) {
      const process = await Process.start(disk);
      process.lifecycle.noteControlHead(1n);
      const claim = process.lifecycle.claimNonceEpoch(1);
      expect(process.lifecycle.claimOf(1)).toBeUndefined();
      expect(await claim).toMatchObject({ writerId: 1, nonceEpoch });
      const onDisk = await Process.start(disk);
      expect(onDisk.state.keys.get(1)?.nonceEpoch).toBe(nonceEpoch);
    }
  });

  it('invariant 3: a key that a lost disk brings back is not used at epoch 1 again', async () => {
    const first = await bootstrapped();
    expect(await first.lifecycle.claimNonceEpoch(2)).toMatchObject({ writerId: 1, nonceEpoch: 1 });
    const second = await Process.start(new Disk());
    second.lifecycle.noteControlHead(1n);
    await second.apply(0, 1n, await bootstrapEntry());
    expect(second.lifecycle.isRegistered(2)).toBe(false);
    expect(await second.lifecycle.claimNonceEpoch(2)).toMatchObject({ writerId: 1, nonceEpoch: 2 });
  });

  it('invariant 3: without a noted head, every key is claimed', async () => {
    const process = await Process.start(new Disk());
    await process.apply(0, 1n, await bootstrapEntry());
    expect(await process.lifecycle.claimNonceEpoch(2)).toMatchObject({
      writerId: 1,
      nonceEpoch: 2,
    });
  });

  it('gives one claim to concurrent and repeated calls', async () => {
    const disk = new Disk();
    await bootstrapped(disk);
    const process = await Process.start(disk);
    const { lifecycle } = process;
    const claims = await Promise.all([1, 1, 1, 2].map((dekId) => lifecycle.claimNonceEpoch(dekId)));
    expect(claims.map(({ nonceEpoch }) => nonceEpoch)).toEqual([2, 2, 2, 2]);
    expect(await lifecycle.claimNonceEpoch(1)).toEqual(claims[0]);
    expect(process.sidecarWrites).toBe(2);
  });

  it('is not registered until the log shows the claim', async () => {
    const disk = new Disk();
    await bootstrapped(disk);
    const process = await Process.start(disk);
    const claim = await process.lifecycle.claimNonceEpoch(2);
    expect(process.lifecycle.isRegistered(2)).toBe(false);
    await process.apply(0, 2n, registrationOf('a', 2, claim));
    expect(process.lifecycle.isRegistered(2)).toBe(true);
    expect(process.lifecycle.isRegistered(1)).toBe(false);
  });

  it('invariant 3: ends when the log shows a registration of this node above it', async () => {
    const disk = new Disk();
    await bootstrapped(disk);
    const process = await Process.start(disk);
    const claim = await process.lifecycle.claimNonceEpoch(2);
    await process.apply(0, 2n, registrationOf('a', 2, claim));
    await process.apply(0, 3n, registration('a', 2, 6));
    expect(process.lifecycle.isRegistered(2)).toBe(false);
    expect(process.lifecycle.claimOf(2)).toBeUndefined();
    expect(await process.lifecycle.claimNonceEpoch(2)).toMatchObject({
      writerId: 1,
      nonceEpoch: 7,
    });
  });

  it('invariant 3: is not taken back by a late registration of an earlier process', async () => {
    const disk = new Disk();
    await bootstrapped(disk);
    await (await Process.start(disk)).lifecycle.claimNonceEpoch(2);
    const process = await Process.start(disk);
    expect(await process.lifecycle.claimNonceEpoch(2)).toMatchObject({
      writerId: 1,
      nonceEpoch: 3,
    });
    await process.apply(0, 2n, registration('a', 2, 2));
    expect(process.state.keys.get(2)?.nonceEpoch).toBe(3);
    expect(process.lifecycle.claimOf(2)).toMatchObject({ writerId: 1, nonceEpoch: 3 });
    expect(process.lifecycle.isRegistered(2)).toBe(false);
  });

  it('ends a first epoch as well when a registration of this node is above it', async () => {
    const process = await bootstrapped();
    await process.apply(0, 2n, registration('a', 2, 3));
    expect(process.lifecycle.isRegistered(2)).toBe(false);
    expect(await process.lifecycle.claimNonceEpoch(2)).toMatchObject({
      writerId: 1,
      nonceEpoch: 4,
    });
  });

  it('SC-17: refuses at 65535, and leaves the file as it is', async () => {
    const disk = new Disk();
    const process = await bootstrapped(disk);
    await process.apply(0, 2n, registration('a', 2, 0xfffe));
    expect(await process.lifecycle.claimNonceEpoch(2)).toMatchObject({
      writerId: 1,
      nonceEpoch: 0xffff,
    });
    const restarted = await Process.start(disk);
    const before = disk.sidecar;
    await expect(restarted.lifecycle.claimNonceEpoch(2)).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_EPOCH_EXHAUSTED'),
    );
    expect(disk.sidecar).toBe(before);
  });

  it('START-12: refuses where the registry has seen a higher epoch of this node', async () => {
    const disk = new Disk();
    await bootstrapped(disk);
    disk.rows = [{ dekId: 2, writerId: 1, firstEpoch: 1, lastEpoch: 5 }];
    const process = await Process.start(disk);
    await expect(process.lifecycle.claimNonceEpoch(2)).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_EPOCH_ROLLBACK'),
    );
  });

  it('refuses a node without a writer id until a leader registers it', async () => {
    const process = await Process.start(new Disk(), { nodeId: 'c' });
    process.lifecycle.noteControlHead(0n);
    await process.apply(0, 1n, await bootstrapEntry());
    await expect(process.lifecycle.claimNonceEpoch(2)).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_WRITER_UNKNOWN'),
    );
    await process.apply(0, 2n, registration('c', 2, 1));
    const claim = await process.lifecycle.claimNonceEpoch(2);
    expect(claim).toMatchObject({ writerId: 3, nonceEpoch: 2 });
    expect(process.lifecycle.isRegistered(2)).toBe(false);
    await process.apply(0, 3n, registrationOf('c', 2, claim));
    expect(process.lifecycle.isRegistered(2)).toBe(true);
    expect(process.lifecycle.isRegistered(1)).toBe(false);
  });

  it('refuses unknown keys and the index DEK', async () => {
    const { lifecycle } = await bootstrapped();
    const { lifecycle: restarted } = await bootstrapped();
    await expect(lifecycle.claimNonceEpoch(99)).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_DEK_UNKNOWN'),
    );
    await expect(restarted.claimNonceEpoch(3)).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_DEK_PURPOSE'),
    );
  });

  it('gives nothing when the sidecar cannot be written, and can be asked again', async () => {
    const disk = new Disk();
    await bootstrapped(disk);
    const process = await Process.start(disk);
    process.crashAt = 'before sidecar';
    await expect(process.lifecycle.claimNonceEpoch(2)).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_SIDECAR_FAILED'),
    );
    expect(process.lifecycle.claimOf(2)).toBeUndefined();
    expect(await process.lifecycle.claimNonceEpoch(2)).toMatchObject({
      writerId: 1,
      nonceEpoch: 2,
    });
  });

  it('passes on that a sidecar error was fatal', async () => {
    const disk = new Disk();
    await bootstrapped(disk);
    const process = await Process.start(disk, {
      sidecar: { write: () => Promise.reject(fatalError('RAFTSEAL_SIDECAR_HALTED', 'halted')) },
    });
    await expect(process.lifecycle.claimNonceEpoch(2)).rejects.toEqual(
      fatally('RAFTSEAL_APPLIER_SIDECAR_FAILED'),
    );
  });

  it('HAZARD AROT-06: a rotation does not touch the epochs of other keys, nor replay its own', async () => {
    const disk = new Disk();
    await bootstrapped(disk);
    const process = await Process.start(disk);
    await process.lifecycle.claimNonceEpoch(1);
    await process.apply(0, 2n, await rotation(4, 'storage'));
    await process.lifecycle.claimNonceEpoch(4);
    expect(process.state.keys.get(1)?.nonceEpoch).toBe(2);
    await process.apply(0, 2n, await rotation(4, 'storage'));
    expect(process.state.keys.get(4)?.nonceEpoch).toBe(2);
  });
});

/** Two processes on copies of the disk of node a, which was bootstrapped and then went down. */
async function copies(): Promise<[Process, Process]> {
  const disk = new Disk();
  await bootstrapped(disk);
  const processes: [Process, Process] = [
    await Process.start(disk),
    await Process.start(disk.copy()),
  ];
  for (const { lifecycle } of processes) lifecycle.noteControlHead(1n);
  return processes;
}

describe('a data directory that was copied', () => {
  it('invariant 3: two processes that claim one epoch are not both registered', async () => {
    const [one, other] = await copies();
    const claim = await one.lifecycle.claimNonceEpoch(2);
    const rival = await other.lifecycle.claimNonceEpoch(2);
    expect(rival.nonceEpoch).toBe(claim.nonceEpoch);
    // The log has both; the first one counts, for every process that applies it.
    for (const process of [one, other]) {
      await process.apply(0, 2n, registrationOf('a', 2, claim));
      await process.apply(0, 3n, registrationOf('a', 2, rival));
    }
    expect(one.lifecycle.isRegistered(2)).toBe(true);
    expect(one.lifecycle.claimOf(2)).toEqual(claim);
    expect(other.lifecycle.isRegistered(2)).toBe(false);
    expect(other.lifecycle.claimOf(2)).toBeUndefined();
    expect(await other.lifecycle.claimNonceEpoch(2)).toMatchObject({ nonceEpoch: 3 });
  });

  it('invariant 3: an epoch is not taken for registered while the rival entry is applied', async () => {
    const disk = new Disk();
    await bootstrapped(disk);
    const rival = await (await Process.start(disk.copy())).lifecycle.claimNonceEpoch(2);
    const seen: boolean[] = [];
    const store = disk.open();
    const process = await Process.start(disk, {
      sidecar: {
        write: async (state, mac) => {
          await store.write(state, mac);
          seen.push(process.lifecycle.isRegistered(2));
        },
      },
    });
    await process.lifecycle.claimNonceEpoch(2);
    await process.apply(0, 2n, registrationOf('a', 2, rival));
    expect(process.registry.row(2, 1)?.lastEpoch).toBe(2);
    expect(seen).toEqual([false, false]);
  });

  it('invariant 3: a registration that no process claimed gives its epoch to none', async () => {
    const [one] = await copies();
    await one.lifecycle.claimNonceEpoch(2);
    await one.apply(0, 2n, registration('a', 2, 2));
    expect(one.lifecycle.claimOf(2)).toBeUndefined();
    expect(one.lifecycle.isRegistered(2)).toBe(false);
    expect(await one.lifecycle.claimNonceEpoch(2)).toMatchObject({ nonceEpoch: 3 });
  });

  it('invariant 3: only the process that registered last has the first epoch of a new key', async () => {
    const [one, other] = await copies();
    const claim = await one.lifecycle.claimNonceEpoch(2);
    for (const process of [one, other]) {
      await process.apply(0, 2n, registrationOf('a', 2, claim));
      await process.apply(0, 3n, await rotation(5, 'raft'));
    }
    expect(one.lifecycle.isRegistered(5)).toBe(true);
    expect(other.lifecycle.claimOf(5)).toBeUndefined();
    expect(other.lifecycle.isRegistered(5)).toBe(false);
    expect(await other.lifecycle.claimNonceEpoch(5)).toMatchObject({ nonceEpoch: 2 });
  });

  it('invariant 3: a process that was overtaken under one key has no new key at epoch 1', async () => {
    const disk = new Disk();
    const one = await bootstrapped(disk);
    const other = await Process.start(disk.copy());
    other.lifecycle.noteControlHead(1n);
    const rival = await other.lifecycle.claimNonceEpoch(1);
    for (const process of [one, other]) {
      await process.apply(0, 2n, registrationOf('a', 1, rival));
      await process.apply(0, 3n, await rotation(5, 'raft'));
    }
    expect(one.lifecycle.isRegistered(2)).toBe(true);
    expect([one, other].map(({ lifecycle }) => lifecycle.isRegistered(5))).toEqual([false, true]);
  });

  it('invariant 3: a repeated registration does not make its process the latest again', async () => {
    const [one, other] = await copies();
    const claim = await one.lifecycle.claimNonceEpoch(2);
    const rival = await other.lifecycle.claimNonceEpoch(1);
    for (const process of [one, other]) {
      await process.apply(0, 2n, registrationOf('a', 2, claim));
      await process.apply(0, 3n, registrationOf('a', 1, rival));
      await process.apply(0, 4n, registrationOf('a', 2, claim));
      await process.apply(0, 5n, await rotation(5, 'raft'));
    }
    expect(one.lifecycle.isRegistered(2)).toBe(true);
    expect(one.lifecycle.isRegistered(5)).toBe(false);
  });

  it('invariant 3: random processes of one node never share an epoch that may seal', async () => {
    let met = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ who: fc.nat({ max: 2 }), what: fc.nat({ max: 9 }) }), {
          minLength: 10,
          maxLength: 40,
        }),
        async (steps) => {
          met += await livesOfCopies(steps);
        },
      ),
      { numRuns: 60 },
    );
    expect(met).toBeGreaterThan(50);
  });
});

/**
 * Three processes of one node, two of them on copies, apply one log, each as far as it likes, and
 * ask for registrations and rotations at random. No two may ever be registered with one epoch.
 * @returns how often two of them had claimed the same.
 */
async function livesOfCopies(steps: readonly { who: number; what: number }[]): Promise<number> {
  const disk = new Disk();
  const first = await bootstrapped(disk);
  const processes = [first, await Process.start(disk.copy()), await Process.start(disk.copy())];
  for (const { lifecycle } of processes.slice(1)) lifecycle.noteControlHead(1n);
  const log: KeyLifecycleEntry[] = [];
  const applied = [0, 0, 0];
  const sealers = new Map<string, Process>();
  let newDekId = 10;
  let met = 0;
  const catchUp = async (who: number, entries: number): Promise<void> => {
    const process = processes[who] as Process;
    for (const entry of log.slice(applied[who], (applied[who] ?? 0) + entries)) {
      applied[who] = (applied[who] ?? 0) + 1;
      await process.apply(0, BigInt(applied[who]) + 1n, entry);
      for (const dekId of process.state.keys.keys()) {
        if (!process.lifecycle.isRegistered(dekId)) continue;
        const epoch = `${dekId}/${process.lifecycle.claimOf(dekId)?.nonceEpoch}`;
        expect(sealers.get(epoch) ?? process, epoch).toBe(process);
        sealers.set(epoch, process);
      }
    }
  };
  for (const { who, what } of steps) {
    const process = processes[who] as Process;
    const dekId = process.state.activeDekId.raft;
    if (what < 4) await catchUp(who, what + 1);
    else if (what < 9) {
      const claim = await process.lifecycle.claimNonceEpoch(dekId);
      met +=
        processes.filter(
          ({ lifecycle }) => lifecycle.claimOf(dekId)?.nonceEpoch === claim.nonceEpoch,
        ).length - 1;
      log.push(registrationOf('a', dekId, claim));
    } else log.push(await rotation(newDekId++, 'raft'));
  }
  for (const who of processes.keys()) await catchUp(who, log.length);
  return met;
}

describe('abandoning the claims', () => {
  it('invariant 3: a process that was displaced seals nothing any more, also under a new key', async () => {
    const process = await bootstrapped();
    const { lifecycle } = process;
    expect(lifecycle.isRegistered(2)).toBe(true);
    lifecycle.abandonClaims();
    await process.apply(0, 2n, await rotation(5, 'raft'));
    for (const dekId of [1, 2, 5]) {
      expect(lifecycle.claimOf(dekId)).toBeUndefined();
      expect(lifecycle.isRegistered(dekId)).toBe(false);
      await expect(lifecycle.claimNonceEpoch(dekId)).rejects.toEqual(
        refused('RAFTSEAL_APPLIER_CLAIMS_ABANDONED'),
      );
    }
    lifecycle.abandonClaims();
  });

  it('ends a claim that is being written', async () => {
    const disk = new Disk();
    await bootstrapped(disk);
    const { lifecycle } = await Process.start(disk);
    const claim = lifecycle.claimNonceEpoch(2);
    const unsubscribe = lifecycle.onChange(() => lifecycle.abandonClaims());
    await expect(claim).rejects.toEqual(refused('RAFTSEAL_APPLIER_CLAIMS_ABANDONED'));
    unsubscribe();
    expect(lifecycle.claimOf(2)).toBeUndefined();
  });
});

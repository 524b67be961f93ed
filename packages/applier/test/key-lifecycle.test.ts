import { type KeyState, RaftsealError } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import {
  encodeEntry,
  KeyLifecycle,
  type KeyLifecycleParts,
  MemoryWriterRegistry,
  unwrapWith,
} from '../src/index.ts';
import {
  bootstrapEntry,
  bootstrapped,
  cutoverRequest,
  Disk,
  describeRow,
  enableStorage,
  foreignKey,
  kek,
  marker,
  newKey,
  Process,
  placed,
  rotation,
  sharedState,
} from './world.ts';

const fatally = (code: string): unknown => expect.objectContaining({ code, fatal: true });
const refused = (code: string): unknown => expect.objectContaining({ code, fatal: false });

describe('applying an entry', () => {
  it('performs load, rows, sidecar and install in this order', async () => {
    const process = await bootstrapped();
    await process.apply(0, 2n, cutoverRequest(2));
    process.performed.length = 0;
    await process.apply(0, 3n, await rotation(5, 'raft'));
    expect(process.performed).toEqual([
      'load 5',
      'rows 5/1@1-1 5/2@1-1',
      'sidecar',
      'install shard 0 above 2 with 5',
    ]);
  });

  it('AROT-12: leaves state that is durable when only the install fails', async () => {
    const disk = new Disk();
    const process = await bootstrapped(disk);
    process.crashAt = 'before install';
    const applied = process.apply(0, 2n, cutoverRequest(2));
    await expect(applied).rejects.toEqual(fatally('RAFTSEAL_APPLIER_INSTALL_FAILED'));
    expect(process.state.cutoverIndex.get(0)).toBe(2n);
    const restarted = await Process.start(disk);
    expect(restarted.installed.get(0)).toEqual({ shardId: 0, cutoverIndex: 2n, dekId: 2 });
  });

  it('HAZARD AER-08: an installer is required and its error halts', async () => {
    const process = await Process.start(new Disk(), {
      installer: () => {
        throw new Error('no such shard');
      },
    });
    await process.apply(0, 1n, await bootstrapEntry());
    const applied = process.apply(0, 2n, cutoverRequest(2));
    await expect(applied).rejects.toMatchObject({ fatal: true, cause: new Error('no such shard') });
  });

  it('AREG-06: leaves the state as it was when the sidecar cannot be written', async () => {
    const process = await bootstrapped();
    const before = process.state;
    process.crashAt = 'before sidecar';
    const applied = process.apply(0, 2n, enableStorage(1));
    await expect(applied).rejects.toEqual(fatally('RAFTSEAL_APPLIER_SIDECAR_FAILED'));
    expect(process.state).toBe(before);
  });

  it('ABOOT-09: a wrap that does not open leaves keyring, registry and sidecar untouched', async () => {
    const disk = new Disk();
    const process = await Process.start(disk);
    const entry = await bootstrapEntry({
      keys: [await newKey(1, 'storage'), await foreignKey(2, 'raft'), await newKey(3, 'index')],
    });
    const applied = process.apply(0, 1n, entry);
    await expect(applied).rejects.toMatchObject({
      code: 'RAFTSEAL_APPLIER_LOAD_FAILED',
      fatal: true,
      cause: expect.objectContaining({ code: 'RAFTSEAL_KEK_MISMATCH' }),
    });
    expect(process.keyring.ids()).toEqual([]);
    expect(disk).toEqual(new Disk());
  });

  it('wipes what it unwrapped, also where loading fails', async () => {
    const handed: Uint8Array[] = [];
    const process = await Process.start(new Disk(), {
      unwrapDek: async (_, { dekId }) => {
        if (dekId === 3) throw new Error('KEK gone');
        const dek = new Uint8Array(32).fill(dekId);
        handed.push(dek);
        return dek;
      },
    });
    await expect(process.apply(0, 1n, await bootstrapEntry())).rejects.toThrow();
    expect(handed).toEqual([new Uint8Array(32), new Uint8Array(32)]);
  });

  it('invariant 6: after a failure applies that entry or none', async () => {
    const process = await bootstrapped();
    process.crashAt = 'before rows';
    const failing = await rotation(4, 'storage');
    await expect(process.apply(0, 2n, failing)).rejects.toThrow();
    const next = process.apply(0, 3n, enableStorage(1));
    await expect(next).rejects.toEqual(fatally('RAFTSEAL_APPLIER_HALTED'));
    expect(await process.apply(0, 2n, failing)).toEqual({ kind: 'applied' });
    expect(await process.apply(0, 3n, enableStorage(4))).toEqual({ kind: 'applied' });
  });

  it('a shard that halted does not stop another', async () => {
    const process = await bootstrapped();
    await process.apply(0, 2n, cutoverRequest(2, 7));
    await expect(process.apply(7, 1n, enableStorage(1))).rejects.toEqual(
      fatally('RAFTSEAL_APPLIER_WRONG_SHARD'),
    );
    expect(await process.apply(0, 3n, enableStorage(1))).toEqual({ kind: 'applied' });
  });

  it('FW-14: bytes that are no entry are fatal', async () => {
    const process = await bootstrapped();
    const applied = process.lifecycle.apply({ shardId: 0, index: 2n, body: Uint8Array.of(1) });
    await expect(applied).rejects.toEqual(fatally('RAFTSEAL_APPLIER_ENTRY_MALFORMED'));
  });

  it('reads the body before the call returns', async () => {
    const process = await bootstrapped();
    const entry = placed(0, 2n, enableStorage(1));
    const applied = process.lifecycle.apply(entry);
    entry.body.fill(0xff);
    expect(await applied).toEqual({ kind: 'applied' });
  });

  it('HAZARD TSH-15: an entry at or below the applied index writes nothing', async () => {
    const process = await bootstrapped();
    const writes = process.sidecarWrites;
    expect(await process.apply(0, 1n, await bootstrapEntry())).toEqual({ kind: 'replayed' });
    expect(process.sidecarWrites).toBe(writes);
    expect(process.performed).toEqual([]);
  });

  it('HAZARD AROT-14: a rotation registers every writer, so that each can seal at once', async () => {
    const [a, b] = [await bootstrapped(), await Process.start(new Disk(), { nodeId: 'b' })];
    b.lifecycle.noteControlHead(0n);
    await b.apply(0, 1n, await bootstrapEntry());
    for (const process of [a, b]) {
      await process.apply(0, 2n, await rotation(5, 'raft'));
      expect(process.lifecycle.isRegistered(5)).toBe(true);
    }
    expect(a.lifecycle.claimOf(5)).toMatchObject({ writerId: 1, nonceEpoch: 1 });
    expect(b.lifecycle.claimOf(5)).toMatchObject({ writerId: 2, nonceEpoch: 1 });
  });

  it('HAZARD AREG-16, TSH-05: entries of several shards never interleave', async () => {
    let busy = 0;
    let highest = 0;
    const slow = async (): Promise<void> => {
      highest = Math.max(highest, ++busy);
      await new Promise((resolve) => setTimeout(resolve, 1));
      busy -= 1;
    };
    const process = await Process.start(new Disk(), { installer: slow });
    await process.apply(0, 1n, await bootstrapEntry());
    await process.apply(0, 2n, cutoverRequest(2, 5, 6, 7));
    await Promise.all([
      ...[5, 6, 7].map((shardId) => process.apply(shardId, 9n, marker(2, 2n))),
      process.apply(0, 3n, await rotation(4, 'raft')),
      process.lifecycle.claimNonceEpoch(1),
    ]);
    expect(highest).toBe(1);
    expect(process.state.appliedIndex.size).toBe(4);
  });

  it('refuses to apply two entries of one shard at a time', async () => {
    const process = await bootstrapped();
    const one = process.apply(0, 2n, enableStorage(1));
    await expect(process.apply(0, 3n, enableStorage(1))).rejects.toThrow('at a time');
    expect(await one).toEqual({ kind: 'applied' });
  });
});

describe('the state that others see', () => {
  it('changes only once the sidecar is durable, and before the wrap is installed', async () => {
    const order: string[] = [];
    const process = await Process.start(new Disk(), {
      sidecar: {
        write: async () => {
          order.push(`write, cutover ${process.state.cutoverIndex.get(0) ?? 'none'}`);
        },
      },
      installer: () => {
        order.push(`install, cutover ${process.state.cutoverIndex.get(0)}`);
      },
    });
    await process.apply(0, 1n, await bootstrapEntry());
    process.lifecycle.onChange((state) => {
      order.push(`changed, cutover ${state.cutoverIndex.get(0)}`);
    });
    await process.apply(0, 2n, cutoverRequest(2));
    expect(order.slice(1)).toEqual([
      'write, cutover none',
      'changed, cutover 2',
      'install, cutover 2',
    ]);
  });

  it('is told to every listener until it unsubscribes', async () => {
    const process = await bootstrapped();
    const seen: KeyState[] = [];
    const unsubscribe = process.lifecycle.onChange((state) => seen.push(state));
    await process.apply(0, 2n, enableStorage(1));
    unsubscribe();
    await process.apply(0, 3n, await rotation(4, 'storage'));
    expect(seen).toHaveLength(1);
    expect(seen[0]?.storageIndex).toBe(2n);
  });

  it('counts every sidecar write', async () => {
    const process = await bootstrapped();
    expect(process.state.generation).toBe(1n);
    await process.apply(0, 2n, enableStorage(1));
    await process.lifecycle.claimNonceEpoch(1);
    expect(process.state.generation).toBe(2n);
  });
});

describe('a marker of another shard', () => {
  it('waits for the control shard without blocking it', async () => {
    const process = await bootstrapped();
    let done = false;
    const waiting = process.apply(7, 9n, marker(2, 3n)).then(() => {
      done = true;
    });
    await process.apply(0, 2n, enableStorage(1));
    expect(done).toBe(false);
    await process.apply(0, 3n, cutoverRequest(2, 7));
    await waiting;
    expect(process.state.cutoverIndex).toEqual(
      new Map([
        [0, 3n],
        [7, 9n],
      ]),
    );
  });

  it('is fatal for its shard when the control shard does not come in time', async () => {
    const disk = new Disk();
    await bootstrapped(disk);
    const process = await Process.start(disk, { controlWaitMs: 5 });
    await expect(process.apply(7, 9n, marker(2, 3n))).rejects.toEqual(
      fatally('RAFTSEAL_APPLIER_CONTROL_BEHIND'),
    );
    expect(await process.apply(0, 2n, enableStorage(1))).toEqual({ kind: 'applied' });
  });

  it('waits no longer than it is asked to, and is applied when it comes again', async () => {
    const process = await bootstrapped();
    const stop = new AbortController();
    const waiting = process.apply(7, 9n, marker(2, 3n), stop.signal);
    const reason = new Error('stopping');
    stop.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await expect(process.apply(7, 9n, marker(2, 3n), stop.signal)).rejects.toBe(reason);
    await process.apply(0, 2n, enableStorage(1));
    await process.apply(0, 3n, cutoverRequest(2, 7));
    expect(await process.apply(7, 9n, marker(2, 3n))).toEqual({ kind: 'applied' });
  });

  it('installs the raft DEK that is active on this node', async () => {
    const process = await bootstrapped();
    await process.apply(0, 2n, cutoverRequest(2, 7));
    await process.apply(0, 3n, await rotation(5, 'raft'));
    await process.apply(7, 9n, marker(2, 2n));
    expect(process.installed.get(7)).toEqual({ shardId: 7, cutoverIndex: 9n, dekId: 5 });
  });

  it('needs no control shard when it is replayed', async () => {
    const disk = new Disk();
    const process = await bootstrapped(disk);
    await process.apply(0, 2n, cutoverRequest(2, 7));
    await process.apply(7, 9n, marker(2, 2n));
    const restarted = await Process.start(disk, { controlWaitMs: 1 });
    expect(await restarted.apply(7, 9n, marker(2, 99n))).toEqual({ kind: 'replayed' });
    expect(restarted.performed).toEqual(['install shard 7 above 9 with 2']);
  });
});

describe('a KEK that is out of reach', () => {
  const away = new RaftsealError('RAFTSEAL_KEK_UNAVAILABLE', 'expected an answer; found none');
  const probe = new RaftsealError('RAFTSEAL_NODE_KEK_PROBE', 'no probe', { cause: away });

  /** What the KEK answers to each question after the first three, which it opens; then it opens. */
  async function withOutage(
    failures: readonly Error[],
    parts: Partial<KeyLifecycleParts> = {},
  ): Promise<Process> {
    const left = [undefined, undefined, undefined, ...failures];
    const unwrapDek: KeyLifecycleParts['unwrapDek'] = async (key, binding) => {
      const failure = left.shift();
      if (failure) throw failure;
      return unwrapWith([kek])(key, binding);
    };
    const process = await Process.start(new Disk(), { unwrapDek, ...parts });
    await process.apply(0, 1n, await bootstrapEntry());
    return process;
  }

  const atOnce: KeyLifecycleParts['startTimer'] = (_, callback) => {
    const timer = setImmediate(callback);
    return () => clearImmediate(timer);
  };

  it('invariant 12: halts nothing, and the entry is applied once it is back', async () => {
    const seen: unknown[] = [];
    const onKekAway = (error: unknown): (() => void) => {
      seen.push(error);
      return () => seen.push('back');
    };
    const process = await withOutage([away, probe, away], { startTimer: atOnce, onKekAway });
    expect(await process.apply(0, 2n, await rotation(4, 'raft'))).toEqual({ kind: 'applied' });
    expect(seen).toEqual([fatally('RAFTSEAL_APPLIER_LOAD_FAILED'), 'back']);
    expect(process.lifecycle.awaitsKek).toBe(false);
    expect(process.keyring.ids()).toContain(4);
  });

  it('keeps nothing else from being applied or claimed meanwhile', async () => {
    let back = (): void => undefined;
    const startTimer: KeyLifecycleParts['startTimer'] = (_, callback) => {
      back = callback;
      return () => undefined;
    };
    const process = await withOutage([away], { startTimer });
    const waiting = process.apply(0, 2n, await rotation(4, 'raft'));
    await process.lifecycle.claimNonceEpoch(1);
    expect(process.state.activeDekId.raft).toBe(2);
    await new Promise((resolve) => setImmediate(resolve));
    expect(process.lifecycle.awaitsKek).toBe(true);
    back();
    expect(await waiting).toEqual({ kind: 'applied' });
  });

  it('is waited for no longer once its shard is stopped, or all is closed', async () => {
    const process = await withOutage([away, away], { startTimer: () => () => undefined });
    const stop = new AbortController();
    const body = encodeEntry(await rotation(4, 'raft'));
    const place = { shardId: 0, index: 2n, body };
    const waiting = process.lifecycle.apply({ ...place, signal: stop.signal });
    await new Promise((resolve) => setImmediate(resolve));
    stop.abort(new Error('stopped'));
    await expect(waiting).rejects.toThrow('stopped');
    const again = process.lifecycle.apply(place);
    await new Promise((resolve) => setImmediate(resolve));
    await process.lifecycle.close();
    await expect(again).rejects.toMatchObject({ code: 'RAFTSEAL_APPLIER_CLOSED' });
    expect(process.state.keys.has(4)).toBe(false);
  });

  it('refuses the start', async () => {
    const disk = new Disk();
    await (await Process.start(disk)).apply(0, 1n, await bootstrapEntry());
    const started = Process.start(disk, { unwrapDek: () => Promise.reject(away) });
    await expect(started).rejects.toEqual(fatally('RAFTSEAL_APPLIER_LOAD_FAILED'));
  });
});

describe('waiting for a DEK', () => {
  it('runs on the timers it is given, and cancels them', async () => {
    const timers = new Map<number, () => void>();
    const process = await Process.start(new Disk(), {
      startTimer: (delayMs, callback) => {
        timers.set(delayMs, callback);
        return () => timers.delete(delayMs);
      },
    });
    const [late, intime] = [process.lifecycle.waitForDek(9, 7), process.lifecycle.waitForDek(2, 8)];
    expect([...timers.keys()]).toEqual([7, 8]);
    await process.apply(0, 1n, await bootstrapEntry());
    await intime;
    expect([...timers.keys()]).toEqual([7]);
    timers.get(7)?.();
    await expect(late).rejects.toEqual(fatally('RAFTSEAL_APPLIER_DEK_UNKNOWN'));
    expect(timers.size).toBe(0);
  });

  it('ends when the entry that brings it is durable', async () => {
    const process = await bootstrapped();
    const waiting = process.lifecycle.waitForDek(5, 5000);
    await process.apply(0, 2n, await rotation(5, 'raft'));
    await waiting;
    await process.lifecycle.waitForDek(5, 0);
  });

  it('is fatal after its time', async () => {
    const process = await bootstrapped();
    await expect(process.lifecycle.waitForDek(5, 2)).rejects.toEqual(
      fatally('RAFTSEAL_APPLIER_DEK_UNKNOWN'),
    );
  });

  it('does not end for a key whose entry failed after it was loaded', async () => {
    const process = await bootstrapped();
    process.crashAt = 'before rows';
    await expect(process.apply(0, 2n, await rotation(5, 'raft'))).rejects.toThrow();
    expect(process.keyring.has(5)).toBe(true);
    await expect(process.lifecycle.waitForDek(5, 2)).rejects.toThrow();
  });
});

describe('the start of a process', () => {
  it('loads every DEK, then installs every shard that is cut over, with the active DEK', async () => {
    const disk = new Disk();
    const process = await bootstrapped(disk);
    await process.apply(0, 2n, cutoverRequest(2, 7));
    await process.apply(7, 9n, marker(2, 2n));
    await process.apply(0, 3n, await rotation(5, 'raft'));
    const restarted = await Process.start(disk);
    expect(restarted.keyring.ids()).toEqual([1, 2, 3, 5]);
    expect([...restarted.installed.values()]).toEqual([
      { shardId: 0, cutoverIndex: 2n, dekId: 5 },
      { shardId: 7, cutoverIndex: 9n, dekId: 5 },
    ]);
    expect(sharedState(restarted.state)).toEqual(sharedState(process.state));
    expect(restarted.registry.rows().map(describeRow)).toEqual(
      process.registry.rows().map(describeRow),
    );
  });

  it('refuses the state of another node', async () => {
    const disk = new Disk();
    await bootstrapped(disk);
    await expect(Process.start(disk, { nodeId: 'b' })).rejects.toEqual(
      refused('RAFTSEAL_APPLIER_NODE_MISMATCH'),
    );
  });

  it('must come before anything is applied', async () => {
    const { state } = await bootstrapped();
    const lifecycle = new KeyLifecycle({
      nodeId: 'a',
      state,
      unwrapDek: () => Promise.reject(new Error('not called')),
      keyring: { add: () => undefined, delete: () => undefined },
      registry: new MemoryWriterRegistry(),
      sidecar: { write: async () => undefined },
      installer: () => undefined,
      controlWaitMs: 1,
    });
    const applied = lifecycle.apply(placed(0, 2n, enableStorage(1)));
    await expect(applied).rejects.toThrow('startupInstall comes before');
    await expect(lifecycle.claimNonceEpoch(1)).rejects.toThrow('startupInstall comes before');
  });

  it('installs in the order of the shards, whichever was cut over first', async () => {
    const process = await bootstrapped();
    await process.apply(0, 2n, cutoverRequest(2, 8, 7));
    await process.apply(8, 9n, marker(2, 2n));
    await process.apply(7, 9n, marker(2, 2n));
    process.performed.length = 0;
    await process.lifecycle.startupInstall();
    expect(process.performed.slice(-3)).toEqual([
      'install shard 0 above 2 with 2',
      'install shard 7 above 9 with 2',
      'install shard 8 above 9 with 2',
    ]);
  });

  it('notes the head of the control log once', async () => {
    const { lifecycle } = await bootstrapped();
    expect(() => lifecycle.noteControlHead(5n)).toThrow('once');
  });
});

describe('closing', () => {
  it('wipes the MAC key', async () => {
    const macKeys: Uint8Array[] = [];
    const process = await Process.start(new Disk(), {
      sidecar: { write: async (_, { macKey }) => void macKeys.push(macKey) },
    });
    await process.apply(0, 1n, await bootstrapEntry());
    expect(macKeys).not.toEqual([Buffer.alloc(32)]);
    await process.lifecycle.close();
    expect(macKeys).toEqual([Buffer.alloc(32)]);
  });

  it('lets what runs finish, ends waits, and refuses what comes after', async () => {
    const process = await bootstrapped();
    const { lifecycle } = process;
    const started = new Promise<void>((resolve) => lifecycle.onChange(() => resolve()));
    const running = process.apply(0, 2n, cutoverRequest(2));
    const waits = Promise.allSettled([
      lifecycle.waitForDek(9, 60_000),
      process.apply(7, 1n, marker(2, 99n)),
    ]);
    await started;
    await lifecycle.close();
    await lifecycle.close();
    expect(await running).toEqual({ kind: 'applied' });
    expect(process.installed.has(0)).toBe(true);
    for (const end of await waits) {
      expect(end).toMatchObject({
        status: 'rejected',
        reason: { code: 'RAFTSEAL_APPLIER_CLOSED' },
      });
    }
    const closed = refused('RAFTSEAL_APPLIER_CLOSED');
    await expect(process.apply(0, 3n, enableStorage(1))).rejects.toEqual(closed);
    await expect(lifecycle.waitForDek(9, 60_000)).rejects.toEqual(closed);
  });
});

/** Random key-lifecycle entries from small pools, so that they meet: same keys, nodes and shards. */
import type { KeyPurpose } from '@raftseal/interface';
import fc from 'fast-check';
import type { BootstrapEntry, KeyLifecycleEntry, NewKey } from '../src/index.ts';
import {
  backup,
  bootstrapEntry,
  cutoverRequest,
  enableSealedOnly,
  enableStorage,
  foreignKey,
  forgetting,
  marker,
  newKey,
  registration,
  retirement,
  rewrap,
  rotationTo,
} from './world.ts';

/** An entry and the shard it goes to; `gap` is how far its index is from the one before. */
export interface Command {
  readonly shardId: number;
  readonly gap: bigint;
  readonly entry: KeyLifecycleEntry;
}

export const otherShards: readonly number[] = [7, 8];

const purposes: readonly KeyPurpose[] = ['storage', 'raft', 'index'];

/** Every key that a command may name, by id and purpose; the foreign ones do not open. */
export interface KeyPool {
  readonly bootstraps: readonly BootstrapEntry[];
  readonly keys: readonly NewKey[];
  readonly foreign: readonly NewKey[];
  readonly rewraps: readonly KeyLifecycleEntry[];
  /** With a wrap that does not open where DEK 4 has another purpose. */
  readonly foreignRewraps: readonly KeyLifecycleEntry[];
}

export async function keyPool(): Promise<KeyPool> {
  const keys: NewKey[] = [];
  const foreign: NewKey[] = [];
  for (const dekId of [2, 4, 5, 6, 7]) {
    for (const purpose of purposes) {
      keys.push(await newKey(dekId, purpose));
      foreign.push(await foreignKey(dekId, purpose));
    }
  }
  keys.push(await newKey(8, 'raft'));
  const first = await bootstrapEntry();
  const later = await bootstrapEntry({ writers: ['b', 'a'] });
  const rewraps = [
    await rewrap(...first.keys),
    await rewrap(await newKey(1, 'storage')),
    await rewrap(await newKey(2, 'raft'), await newKey(8, 'raft')),
    await rewrap(await newKey(9, 'raft')),
  ];
  const foreignRewraps = [await rewrap(await newKey(2, 'raft'), await newKey(4, 'raft'))];
  return { bootstraps: [first, first, first, later], keys, foreign, rewraps, foreignRewraps };
}

export function commands(pool: KeyPool, { foreign }: { foreign: boolean }): fc.Arbitrary<Command> {
  const dekId = fc.integer({ min: 1, max: 8 });
  const backupId = fc.constantFrom('monday', 'tuesday');
  const gap = fc.bigInt({ min: 1n, max: 3n });
  const keys = foreign ? [...pool.keys, ...pool.foreign] : pool.keys;
  const rewraps = foreign ? [...pool.rewraps, ...pool.foreignRewraps] : pool.rewraps;
  const controlEntries: fc.Arbitrary<KeyLifecycleEntry> = fc.oneof(
    { weight: 2, arbitrary: fc.constantFrom(...pool.bootstraps) },
    {
      weight: 6,
      arbitrary: fc
        .tuple(fc.constantFrom('a', 'b', 'c', 'd'), dekId, fc.integer({ min: 1, max: 4 }))
        .map(([nodeId, id, epoch]) => registration(nodeId, id, epoch)),
    },
    {
      weight: 5,
      arbitrary: fc.constantFrom(...keys).map(rotationTo),
    },
    { weight: 4, arbitrary: dekId.map(enableStorage) },
    { weight: 3, arbitrary: fc.constantFrom(...rewraps) },
    { weight: 6, arbitrary: dekId.map(retirement) },
    { weight: 5, arbitrary: fc.constant(enableSealedOnly) },
    {
      weight: 2,
      arbitrary: fc
        .tuple(backupId, fc.uniqueArray(dekId, { maxLength: 2 }))
        .map(([id, dekIds]) => backup(id, ...dekIds.toSorted((a, b) => a - b))),
    },
    { weight: 2, arbitrary: backupId.map(forgetting) },
    { weight: 5, arbitrary: dekId.map((id) => cutoverRequest(id, ...otherShards)) },
  );
  const control = fc.record({ shardId: fc.constant(0), gap, entry: controlEntries });
  const markers = fc
    .tuple(dekId, fc.bigInt({ min: 1n, max: 30n }))
    .map(([id, controlIndex]) => marker(id, controlIndex));
  const other = fc.record({ shardId: fc.constantFrom(...otherShards), gap, entry: markers });
  const misplaced = fc.oneof(
    fc.record({ shardId: fc.constantFrom(...otherShards), gap, entry: controlEntries }),
    fc.record({ shardId: fc.constant(0), gap, entry: markers }),
  );
  return fc.oneof(
    { weight: 12, arbitrary: control },
    { weight: 4, arbitrary: other },
    { weight: 1, arbitrary: misplaced },
  );
}

/** A sequence that begins with Bootstrap nearly always: without it everything is refused. */
export function lives(
  pool: KeyPool,
  options: { foreign: boolean; maxLength: number },
): fc.Arbitrary<Command[]> {
  const bootstrap: Command = { shardId: 0, gap: 1n, entry: pool.bootstraps[0] as BootstrapEntry };
  const rest = fc.array(commands(pool, options), { maxLength: options.maxLength, size: 'max' });
  return fc
    .tuple(fc.integer({ min: 0, max: 9 }), rest)
    .map(([chance, list]) => (chance === 0 ? list : [bootstrap, ...list]));
}

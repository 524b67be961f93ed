import { describe, expect, it } from 'vitest';
import {
  checkCutover,
  checkNode,
  checkNonceEpochs,
  checkRegistry,
  MemoryWriterRegistry,
} from '../src/index.ts';
import { bootstrapped, cutoverRequest, emptyState, registration, rotation } from './world.ts';

const refused = (code: string): unknown => expect.objectContaining({ code, fatal: false });
const row = (dekId: number, lastEpoch: number, writerId = 1) => ({
  dekId,
  writerId,
  firstEpoch: 1,
  lastEpoch,
});

describe('before anything is sealed', () => {
  it('a node starts with its own sidecar only', () => {
    expect(() => checkNode(emptyState('a'), 'a')).not.toThrow();
    expect(() => checkNode(emptyState('a'), 'b')).toThrow(
      refused('RAFTSEAL_APPLIER_NODE_MISMATCH'),
    );
  });

  it('START-12: the sidecar has every epoch of this node that the registry has', async () => {
    const { state } = await bootstrapped();
    expect(() => checkNonceEpochs(state, new MemoryWriterRegistry())).not.toThrow();
    expect(() => checkNonceEpochs(state, new MemoryWriterRegistry([row(1, 1)]))).not.toThrow();
    expect(() => checkNonceEpochs(state, new MemoryWriterRegistry([row(1, 2)]))).toThrow(
      refused('RAFTSEAL_APPLIER_EPOCH_ROLLBACK'),
    );
    // Another writer's epochs are that node's business.
    expect(() => checkNonceEpochs(state, new MemoryWriterRegistry([row(1, 9, 2)]))).not.toThrow();
  });

  it('START-12: an older key counts as well as the active one', async () => {
    const process = await bootstrapped();
    await process.apply(0, 2n, await rotation(5, 'raft'));
    expect(() => checkNonceEpochs(process.state, new MemoryWriterRegistry([row(2, 2)]))).toThrow(
      refused('RAFTSEAL_APPLIER_EPOCH_ROLLBACK'),
    );
  });

  it('START-06: an active key has an epoch left; an older one need not', async () => {
    const process = await bootstrapped();
    const { registry } = process;
    await process.apply(0, 2n, registration('a', 2, 0xfffe));
    expect(() => checkNonceEpochs(process.state, registry)).not.toThrow();
    await process.apply(0, 3n, registration('a', 2, 0xffff));
    expect(() => checkNonceEpochs(process.state, registry)).toThrow(
      refused('RAFTSEAL_APPLIER_EPOCH_EXHAUSTED'),
    );
    await process.apply(0, 4n, await rotation(5, 'raft'));
    expect(() => checkNonceEpochs(process.state, registry)).not.toThrow();
  });

  it('HAZARD WR-11: the registry has a row of every writer', async () => {
    const { state, registry } = await bootstrapped();
    expect(() => checkRegistry(state, registry)).not.toThrow();
    expect(() => checkRegistry(emptyState(), new MemoryWriterRegistry())).not.toThrow();
    expect(() => checkRegistry(state, new MemoryWriterRegistry([row(1, 1)]))).toThrow(
      refused('RAFTSEAL_APPLIER_REGISTRY_LOST'),
    );
  });

  it('START-01: a snapshot and the sidecar agree on the cutover of a shard', async () => {
    const process = await bootstrapped();
    await process.apply(0, 2n, cutoverRequest(2));
    const { state } = process;
    const check = (shardId: number, snapshot: bigint | undefined) => () =>
      checkCutover(state, { shardId, snapshot });
    expect(check(0, 2n)).not.toThrow();
    expect(check(0, undefined)).not.toThrow();
    expect(check(7, undefined)).not.toThrow();
    const divergence = refused('RAFTSEAL_APPLIER_CUTOVER_DIVERGENCE');
    expect(check(0, 3n)).toThrow(divergence);
    expect(check(7, 2n)).toThrow(divergence);
  });
});

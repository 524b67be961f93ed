/** The entry that makes a cluster sealed-only, and the lock under which it is asked for. */
import { describe, expect, it } from 'vitest';
import { type KeyNode, leadingKeyNode, newCluster, tagsOf } from '../key-world.ts';

async function sealedNode(): Promise<KeyNode & { readonly entries: () => number }> {
  const cluster = newCluster(['a'], [0]);
  const node = await leadingKeyNode({ cluster, shardIds: [0] });
  await node.operations.enableEncryption();
  return Object.assign(node, { entries: () => tagsOf(cluster, 0).length });
}

describe('the request to be sealed-only', () => {
  it('is one entry, however often it is made', async () => {
    const { operations, keys, entries } = await sealedNode();
    const before = entries();
    let checks = 0;
    const check = async (): Promise<void> => {
      checks++;
    };
    await Promise.all([operations.enableSealedOnly(check), operations.enableSealedOnly(check)]);
    expect([checks, entries() - before]).toEqual([1, 1]);
    expect(keys.state.sealedOnlyIndex).toBe(BigInt(entries()));
  });

  it('HAZARD ADM-42: admits nobody between its check and its entry', async () => {
    const { operations, keys } = await sealedNode();
    const order: string[] = [];
    const asked = operations.enableSealedOnly(async () => {
      await new Promise((resolve) => setImmediate(resolve));
      order.push('checked');
    });
    const admitted = operations.exclusively(async () => {
      order.push(`admitted, sealed-only: ${keys.state.sealedOnlyIndex !== undefined}`);
    });
    await Promise.all([asked, admitted]);
    expect(order).toEqual(['checked', 'admitted, sealed-only: true']);
  });

  it('invariant 11: proposes nothing where its check fails, or the cluster is in the clear', async () => {
    const { operations, keys, entries } = await sealedNode();
    const before = entries();
    const found = operations.enableSealedOnly(() => Promise.reject(new Error('2 rows')));
    await expect(found).rejects.toThrow('2 rows');
    expect([entries(), keys.state.sealedOnlyIndex]).toEqual([before, undefined]);
    const clear = await leadingKeyNode({ cluster: newCluster(['a'], [0]), shardIds: [0] });
    await expect(clear.operations.enableSealedOnly(() => Promise.resolve())).rejects.toMatchObject({
      fatal: false,
    });
    expect(clear.groups[0]?.state).toBe('leading');
  });
});

import { startVault } from '@raftseal/kek-services-for-tests';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Burst, planBursts, VaultNemesis } from '../../src/keys/vault-nemesis.ts';
import { Random } from '../../src/random.ts';

describe('the faults of a key service', () => {
  let vault: Awaited<ReturnType<typeof startVault>>;
  beforeEach(async () => {
    vault = await startVault();
    vault.createKey('transit/raftseal');
  });
  afterEach(() => vault.http.close());

  const status = async (): Promise<number> => {
    const headers = { 'x-vault-token': vault.token };
    return (await fetch(`${vault.http.origin}/v1/transit/keys/raftseal`, { headers })).status;
  };

  const begun = (plan: readonly Burst[]): VaultNemesis => {
    const nemesis = new VaultNemesis(vault, new Random(1, 'vault'));
    nemesis.begin(plan);
    return nemesis;
  };

  it('are those of a seed', () => {
    const plan = planBursts(new Random(7, 'bursts'), 100);
    expect(plan).toEqual(planBursts(new Random(7, 'bursts'), 100));
    expect(new Set(plan.map(({ kind }) => kind)).size).toBe(8);
  });

  it('begin with a request, end when they are over, and say what each request met', async () => {
    const nemesis = begun([{ kind: 'busy', afterRequests: 2, durationMs: 200 }]);
    const found: number[] = [];
    for (let n = 0; n < 4; n++) found.push(await status());
    expect(found).toEqual([200, 200, 429, 429]);
    await nemesis.end();
    expect(await status()).toBe(200);
    expect(nemesis.records).toMatchObject([{ kind: 'busy', met: ['busy', 'busy'] }]);
  });

  it('begin earlier, and last longer, where they are to strike', async () => {
    const nemesis = begun([
      { kind: 'busy', afterRequests: 600, durationMs: 1 },
      { kind: 'busy', afterRequests: 600, durationMs: 1 },
    ]);
    nemesis.strike(1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await status()).toBe(200);
    void status().catch(() => undefined);
    while (vault.http.met.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    await new Promise((resolve) => setTimeout(resolve, 50));
    nemesis.calm();
    await nemesis.end();
    expect(nemesis.records).toHaveLength(1);
    expect(nemesis.records[0]?.met).toHaveLength(1);
  });

  it('are over at once when they are to be, and no other begins', async () => {
    const burst = { kind: 'sealed', afterRequests: 0, durationMs: 600_000 } as const;
    const nemesis = begun([burst, burst]);
    expect(await status()).toBe(503);
    nemesis.calm();
    await nemesis.end();
    expect(await status()).toBe(200);
    expect(nemesis.records).toHaveLength(1);
  });
});

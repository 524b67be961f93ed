import { startVault } from '@raftseal/kek-services-for-tests';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { planBursts, VaultNemesis } from '../../src/keys/vault-nemesis.ts';
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

  it('follow one another, as a seed has it', () => {
    const plan = planBursts(new Random(7, 'bursts'), 20_000);
    expect(plan).toEqual(planBursts(new Random(7, 'bursts'), 20_000));
    for (const [at, { atMs }] of plan.entries()) {
      const before = plan[at - 1];
      if (before) expect(atMs).toBeGreaterThan(before.atMs + before.durationMs);
    }
  });

  it('end when they are over, and say how many requests they met', async () => {
    const nemesis = new VaultNemesis(vault, new Random(1, 'vault'));
    expect(await status()).toBe(200);
    nemesis.begin([{ kind: 'busy', atMs: 0, durationMs: 400 }], performance.now());
    let found = 200;
    while (found === 200) found = await status();
    expect(found).toBe(429);
    await nemesis.end();
    expect(await status()).toBe(200);
    expect(nemesis.records).toMatchObject([{ kind: 'busy' }]);
    expect(nemesis.records[0]?.requests).toBeGreaterThan(0);
  });
});

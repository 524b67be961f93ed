/** A Vault on a loopback port with one key, and providers over it. */
import { tmpdir } from 'node:os';
import type { KekProvider } from '@raftseal/interface';
import { startVault, type Vault } from '@raftseal/kek-services-for-tests';
import { afterAll, beforeAll } from 'vitest';
import { type KekFromVaultTransitOptions, kekFromVaultTransit } from '../src/index.ts';

const limits = { attemptMs: 3_000, callMs: 25_000 };

/** For what never gets well, so that it ends soon. */
export const briefLimits = { attemptMs: 900, callMs: 1_000 };

/** None of this machine's own tokens is found. */
const noHome = { HOME: tmpdir() };

export interface VaultWorld {
  readonly vault: Vault;
  uri(name?: string): string;
  open(options?: Partial<KekFromVaultTransitOptions>): Promise<KekProvider>;
}

/** The world is there while the tests of the calling file run. */
export function useVault(): VaultWorld {
  let vault: Vault | undefined;
  const world: VaultWorld = {
    get vault() {
      if (vault === undefined) throw new Error('the Vault runs inside of tests only');
      return vault;
    },
    uri: (name = 'raftseal') => `vault-transit:${world.vault.http.origin}/transit/keys/${name}`,
    open: (options = {}) =>
      kekFromVaultTransit({
        uri: world.uri(),
        env: { ...noHome, VAULT_TOKEN: world.vault.token },
        limits,
        ...options,
      }),
  };
  beforeAll(async () => {
    vault = await startVault();
    vault.createKey('transit/raftseal');
    vault.createKey('transit/other');
  });
  afterAll(() => vault?.http.close());
  return world;
}

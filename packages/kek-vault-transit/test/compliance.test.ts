import { kekProviderSuite } from '@raftseal/compliance';
import { describe, it } from 'vitest';
import { useVault } from './vault-world.ts';

const world = useVault();
const limits = { attemptMs: 20_000, callMs: 25_000 };

kekProviderSuite(
  { describe, it },
  {
    name: 'kek-vault-transit',
    create: () => world.open({ limits }),
    createOther: () => world.open({ uri: world.uri('other'), limits }),
  },
);

const derivedWorld = useVault();

kekProviderSuite(
  { describe, it },
  {
    name: 'kek-vault-transit with a key that derives',
    create: () => openDerived('derived'),
    createOther: () => openDerived('derived-other'),
  },
);

function openDerived(name: string) {
  const { vault } = derivedWorld;
  const path = `transit/${name}`;
  if (!vault.keys.has(path)) vault.createKey(path, { derived: true, type: 'chacha20-poly1305' });
  return derivedWorld.open({ uri: derivedWorld.uri(name), limits });
}

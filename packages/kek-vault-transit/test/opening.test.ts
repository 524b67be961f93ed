/** What must be true of a key before anything relies on it. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startVault } from '@raftseal/kek-services-for-tests';
import { describe, expect, it } from 'vitest';
import { kekFromVaultTransit } from '../src/index.ts';
import { briefLimits, useVault } from './vault-world.ts';

const world = useVault();

const refusal = (code: string, text = '') =>
  expect.objectContaining({ code, message: expect.stringContaining(text) });

describe('opening', () => {
  it('makes no key, and changes none', async () => {
    const { vault } = world;
    const keysBefore = [...vault.keys.keys()];
    await (await world.open()).close();
    const missing = world.open({ uri: world.uri('typo') });
    await expect(missing).rejects.toEqual(refusal('RAFTSEAL_KEK_MISSING', 'typo'));
    expect([...vault.keys.keys()]).toEqual(keysBefore);
  });

  it('names a mount that is none', async () => {
    const uri = world.uri().replace('/transit/', '/kv/');
    await expect(world.open({ uri })).rejects.toEqual(
      refusal('RAFTSEAL_KEK_MISSING', 'no handler for route'),
    );
  });

  it('looks for the key in its namespace', async () => {
    const uri = `${world.uri()}?namespace=team/a`;
    await expect(world.open({ uri })).rejects.toEqual(refusal('RAFTSEAL_KEK_MISSING'));
    world.vault.createKey('team/a/transit/raftseal');
    const kek = await world.open({ uri });
    expect(kek.kekUri).toBe(uri);
    await kek.close();
  });

  it.each([
    ['rsa-4096', {}],
    ['aes128-gcm96', {}],
    ['aes256-gcm96', { derived: true, convergent: true }],
  ] as const)('refuses a key of type %s with %o', async (type, rest) => {
    world.vault.createKey('transit/unfit', { type, ...rest });
    await expect(world.open({ uri: world.uri('unfit') })).rejects.toEqual(
      refusal('RAFTSEAL_KEK_UNFIT', 'aes256-gcm96'),
    );
  });

  it('HAZARD KEK-07: refuses an engine that ignores associated data', async () => {
    world.vault.ignoresAssociatedData = true;
    await expect(world.open()).rejects.toEqual(refusal('RAFTSEAL_KEK_UNFIT', 'ignores it'));
    world.vault.ignoresAssociatedData = false;
  });

  it('refuses a soft-deleted key', async () => {
    world.vault.createKey('transit/gone').softDeleted = true;
    await expect(world.open({ uri: world.uri('gone') })).rejects.toEqual(
      refusal('RAFTSEAL_KEK_DISABLED'),
    );
  });

  it.each(['keys', 'encrypt', 'decrypt'])('needs the permission of %s', async (verb) => {
    const path = `transit/${verb}/raftseal`;
    world.vault.denied.add(path);
    const requests = world.vault.http.requests.length;
    await expect(world.open()).rejects.toEqual(refusal('RAFTSEAL_KEK_DENIED', 'policy must give'));
    expect(world.vault.http.requests.length - requests).toBeLessThanOrEqual(3);
    world.vault.denied.delete(path);
  });

  it('says what a sealed Vault says', async () => {
    world.vault.sealed = true;
    await expect(world.open({ limits: briefLimits })).rejects.toEqual(
      refusal('RAFTSEAL_KEK_UNAVAILABLE', 'Vault is sealed'),
    );
    world.vault.sealed = false;
  });

  it('says that nobody listens', async () => {
    const vault = await startVault();
    const uri = `vault-transit:${vault.http.origin}/transit/keys/raftseal`;
    await vault.http.close();
    await expect(world.open({ uri, limits: briefLimits })).rejects.toEqual(
      refusal('RAFTSEAL_KEK_UNAVAILABLE', 'ECONNREFUSED'),
    );
  });

  it('refuses limits that are none', async () => {
    await expect(world.open({ limits: { callMs: 0 } })).rejects.toThrow(RangeError);
  });
});

describe('TLS', () => {
  it('trusts the CA of VAULT_CACERT, and no certificate that it does not know', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'raftseal-vault-'));
    const [keyPath, certPath] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
    execFileSync(
      'openssl',
      [
        ...'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'.split(' '),
        ...'-subj /CN=vault -addext subjectAltName=IP:127.0.0.1'.split(' '),
        '-keyout',
        keyPath,
        '-out',
        certPath,
      ],
      { stdio: 'ignore' },
    );
    const tls = { key: readFileSync(keyPath, 'utf8'), cert: readFileSync(certPath, 'utf8') };
    const vault = await startVault({ tls });
    vault.createKey('transit/raftseal');
    const uri = `vault-transit:${vault.http.origin}/transit/keys/raftseal`;
    const env = { HOME: directory, VAULT_TOKEN: vault.token };
    const open = (extra: Record<string, string>) =>
      kekFromVaultTransit({ uri, env: { ...env, ...extra } });

    const kek = await open({ VAULT_CACERT: certPath });
    expect(kek.kekUri).toBe(uri);
    await kek.close();

    const requests = vault.http.requests.length;
    await expect(open({})).rejects.toEqual(
      refusal('RAFTSEAL_KEK_UNAVAILABLE', 'VAULT_CACERT names the file of a CA'),
    );
    await expect(open({ VAULT_CACERT: join(directory, 'none') })).rejects.toEqual(
      refusal('RAFTSEAL_KEK_CREDENTIALS', 'ENOENT'),
    );
    expect(vault.http.requests.length).toBe(requests);
    await vault.http.close();
    rmSync(directory, { recursive: true });
  });
});

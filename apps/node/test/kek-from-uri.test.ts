import { randomBytes } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startVault } from '@raftseal/kek-services-for-tests';
import { describe, expect, it } from 'vitest';
import { kekFromUri } from '../src/kek-from-uri.ts';
import { temporaryDirectory } from './temporary-directory.ts';

const binding = { clusterId: Buffer.alloc(16, 1), dekId: 7, purpose: 'storage' } as const;

function kekFile(bytes: Uint8Array = randomBytes(32)): string {
  const path = join(temporaryDirectory(), 'kek');
  writeFileSync(path, bytes, { mode: 0o600 });
  return path;
}

describe('kekFromUri', () => {
  it('opens a file, under one name for each way to write its path', async () => {
    const path = kekFile();
    const dek = randomBytes(32);
    const kek = await kekFromUri(`file:${path}`);
    const wrapped = await kek.wrapKey(dek, binding);
    for (const uri of [`file:${path}`, `file://${path}`]) {
      const again = await kekFromUri(uri);
      expect(again.kekUri).toBe(`file:${path}`);
      expect(Buffer.from(await again.unwrapKey(wrapped, binding))).toEqual(dek);
      await again.close();
    }
    await kek.close();
  });

  it('opens an environment variable, and unsets it', async () => {
    const key = randomBytes(32);
    process.env.RAFTSEAL_TEST_KEK = key.toString('base64');
    const kek = await kekFromUri('env:RAFTSEAL_TEST_KEK');
    expect(kek.kekUri).toBe('env:RAFTSEAL_TEST_KEK');
    expect('RAFTSEAL_TEST_KEK' in process.env).toBe(false);
    const file = await kekFromUri(`file:${kekFile(key)}`);
    const dek = randomBytes(32);
    const unwrapped = await file.unwrapKey(await kek.wrapKey(dek, binding), binding);
    expect(Buffer.from(unwrapped)).toEqual(dek);
    await file.close();
    await kek.close();
  });

  it.each([
    '',
    'kek',
    '/etc/kek',
    'file:',
    'env:',
    ':x',
    'vault:secret',
    'FILE:/kek',
    'azure-kms:x',
  ])('refuses %o, which names no provider', async (uri) => {
    await expect(kekFromUri(uri)).rejects.toMatchObject({ code: 'RAFTSEAL_NODE_KEK_URI' });
  });

  it('says that a key service is out of reach from whichever call on it is', async () => {
    const vault = await startVault();
    vault.createKey('transit/raftseal');
    process.env.VAULT_TOKEN = vault.token;
    const uri = `vault-transit:${vault.http.origin}/transit/keys/raftseal`;
    await (await kekFromUri(uri)).close();
    const callsToOpen = vault.http.requests.length;
    expect(callsToOpen).toBeGreaterThan(1);
    for (let answered = 0; answered < callsToOpen; answered++) {
      if (answered > 0) {
        vault.http.failNext({ kind: 'change', change: (answer) => answer }, { times: answered });
      }
      vault.http.failNext({ kind: 'reset' }, { times: Number.POSITIVE_INFINITY });
      await expect(kekFromUri(uri, { attemptMs: 200, callMs: 300 })).rejects.toMatchObject({
        code: 'RAFTSEAL_KEK_UNAVAILABLE',
      });
      vault.http.clearFaults();
    }
    await vault.http.close();
  });

  it('passes on what the provider refuses', async () => {
    await expect(kekFromUri('file:/none/such')).rejects.toMatchObject({
      code: 'RAFTSEAL_KEK_FILE_MISSING',
    });
    const open = kekFile();
    chmodSync(open, 0o644);
    await expect(kekFromUri(`file:${open}`)).rejects.toMatchObject({
      code: 'RAFTSEAL_KEK_FILE_MODE',
    });
    await expect(kekFromUri(`file:${kekFile(randomBytes(31))}`)).rejects.toMatchObject({
      code: 'RAFTSEAL_KEK_FILE_LENGTH',
    });
    await expect(kekFromUri('env:RAFTSEAL_NOT_SET')).rejects.toMatchObject({
      code: 'RAFTSEAL_KEK_ENV_MISSING',
    });
  });
});

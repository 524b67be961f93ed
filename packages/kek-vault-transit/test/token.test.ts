import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { briefLimits, useVault } from './vault-world.ts';

const world = useVault();
const directory = mkdtempSync(join(tmpdir(), 'raftseal-vault-'));
afterAll(() => rmSync(directory, { recursive: true }));

const binding = { clusterId: Buffer.alloc(16, 1), dekId: 3, purpose: 'index' } as const;

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

const refusal = (code: string, text = '') =>
  expect.objectContaining({ code, message: expect.stringContaining(text) });

describe('the token', () => {
  it('is VAULT_TOKEN, else in the file of VAULT_TOKEN_FILE, else in ~/.vault-token', async () => {
    const { token } = world.vault;
    const wrong = file('wrong', 'hvs.wrong');
    const right = file('right', `${token}\n`);
    file('.vault-token', token);
    for (const env of [
      { HOME: directory, VAULT_TOKEN: token, VAULT_TOKEN_FILE: wrong },
      { HOME: tmpdir(), VAULT_TOKEN: '', VAULT_TOKEN_FILE: right },
      { HOME: directory, VAULT_TOKEN_FILE: '' },
    ]) {
      await (await world.open({ env })).close();
    }
    const env = { HOME: directory, VAULT_TOKEN_FILE: wrong };
    await expect(world.open({ env })).rejects.toEqual(refusal('RAFTSEAL_KEK_DENIED'));
  });

  it('is asked for where there is none', async () => {
    const env = { HOME: join(directory, 'none') };
    await expect(world.open({ env })).rejects.toEqual(
      refusal('RAFTSEAL_KEK_CREDENTIALS', '.vault-token unreadable (ENOENT)'),
    );
  });

  it.each([
    ['an empty file', '\n'],
    ['two lines', 'hvs.a\nhvs.b\n'],
    ['a header in it', 'hvs.a\r\nX-Evil: 1'],
    ['other characters', 'hvs.\u00e9'],
    ['a large file', 'x'.repeat(8_193)],
  ])('is not %s', async (_name, text) => {
    const env = { HOME: directory, VAULT_TOKEN_FILE: file('odd', text) };
    await expect(world.open({ env })).rejects.toEqual(refusal('RAFTSEAL_KEK_CREDENTIALS'));
  });

  it('is not waited for where its file is a FIFO', async () => {
    const path = join(directory, 'fifo');
    execFileSync('mkfifo', [path]);
    await expect(world.open({ env: { HOME: directory, VAULT_TOKEN_FILE: path } })).rejects.toEqual(
      refusal('RAFTSEAL_KEK_CREDENTIALS'),
    );
  });

  it('is read again when Vault refuses it, and the call goes on', async () => {
    const { vault } = world;
    vault.tokens.add('hvs.first');
    const path = file('agent', 'hvs.first');
    const kek = await world.open({ env: { HOME: directory, VAULT_TOKEN_FILE: path } });
    const dek = Buffer.alloc(32, 7);
    const wrapped = await kek.wrapKey(dek, binding);

    vault.tokens.delete('hvs.first');
    await expect(kek.unwrapKey(wrapped, binding)).rejects.toEqual(refusal('RAFTSEAL_KEK_DENIED'));

    vault.tokens.add('hvs.second');
    file('agent', 'hvs.second');
    const opened = await Promise.all([1, 2, 3].map(() => kek.unwrapKey(wrapped, binding)));
    for (const each of opened) expect(dek.equals(each)).toBe(true);

    vault.tokens.delete('hvs.second');
    rmSync(path);
    await expect(kek.unwrapKey(wrapped, binding)).rejects.toEqual(
      refusal('RAFTSEAL_KEK_CREDENTIALS', 'ENOENT'),
    );
    await kek.close();
  });

  it('invariant 10: stands in no refusal, even where a proxy repeats the request', async () => {
    const { vault } = world;
    const kek = await world.open({ limits: briefLimits });
    const dek = Buffer.alloc(32, 0xa5);
    const sent = `${vault.token} ${dek.toString('base64')}`;
    for (const status of [400, 403, 404, 500, 302]) {
      vault.http.failNext(
        { kind: 'answer', answer: { status, body: { errors: [`you sent ${sent}`] } } },
        { times: Number.POSITIVE_INFINITY, on: /encrypt/ },
      );
      const found = await kek.wrapKey(dek, binding).catch(String);
      expect(found).toContain(`HTTP status ${status}`);
      expect(found).not.toContain(vault.token);
      expect(found).not.toContain(dek.toString('base64'));
      vault.http.clearFaults();
    }
    await kek.close();
  });
});

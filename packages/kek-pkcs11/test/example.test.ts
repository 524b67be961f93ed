/** The README's example, run. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { createPkcs11Key, kekFromPkcs11 } from '../src/index.ts';

it('README: makes a key in a token and wraps a DEK with it', async () => {
  // A token of SoftHSM to try it with: it keeps its keys in files, and is for tests.
  const directory = await mkdtemp(join(tmpdir(), 'softhsm-'));
  await mkdir(join(directory, 'tokens'));
  process.env.SOFTHSM2_CONF = join(directory, 'softhsm2.conf');
  await writeFile(process.env.SOFTHSM2_CONF, `directories.tokendir = ${directory}/tokens\n`);
  await writeFile(join(directory, 'pin'), '4711\n', { mode: 0o600 });
  const pins = ['--so-pin', '8899', '--pin', '4711'];
  execFileSync('softhsm2-util', ['--init-token', '--free', '--label', 'raftseal', ...pins]);

  const uri =
    'pkcs11:token=raftseal;object=kek' +
    `?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:${directory}/pin`;

  await createPkcs11Key({ uri }); // once
  const kek = await kekFromPkcs11({ uri });

  const binding = { clusterId: randomBytes(16), dekId: 1, purpose: 'raft' } as const;
  const wrapped = await kek.wrapKey(randomBytes(32), binding);
  await kek.close();

  expect(wrapped.length).toBe(60);
  await rm(directory, { recursive: true });
});

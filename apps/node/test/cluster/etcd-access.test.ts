import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readEtcdAccess } from '../../src/cluster/etcd-access.ts';
import type { EtcdConfig } from '../../src/config.ts';
import { peerCertificates } from '../peer/certificates.ts';
import { temporaryDirectory } from '../temporary-directory.ts';

const { member } = peerCertificates();
const plain: EtcdConfig = {
  endpoints: ['https://10.0.0.1:2379', 'https://10.0.0.2:2379'],
  prefix: '/raftseal',
  spaceBytesMax: 1,
  leaseTtlMs: 5000,
};

function passwordFile(content: string, mode = 0o600): string {
  const path = join(temporaryDirectory(), 'password');
  writeFileSync(path, content, { mode });
  return path;
}

const text = (path: string): string => readFileSync(path, 'utf8');

describe('the access to etcd', () => {
  it('takes what it is given, and no more', async () => {
    const { endpoints } = plain;
    expect(await readEtcdAccess(plain)).toEqual({ endpoints, tls: {} });
    const { caPath, certificatePath, keyPath } = member;
    const caPem = text(caPath);
    expect(await readEtcdAccess({ ...plain, caPath })).toEqual({ endpoints, tls: { caPem } });
    const full = { ...plain, caPath, certificatePath, keyPath };
    expect(await readEtcdAccess(full)).toEqual({
      endpoints,
      tls: { caPem, certificatePem: text(certificatePath), keyPem: text(keyPath) },
    });
  });

  it.each(['pass word ', 'pass word \n', 'pass word \r\n'])(
    'takes the password from its file, without the end of the line: %o',
    async (content) => {
      const passwordPath = passwordFile(content);
      const { user } = await readEtcdAccess({ ...plain, userName: 'raftseal', passwordPath });
      expect(user).toEqual({ name: 'raftseal', password: 'pass word ' });
    },
  );

  it('is refused where others can read its secrets', async () => {
    const passwordPath = passwordFile('secret', 0o644);
    const keyPath = passwordFile(text(member.keyPath), 0o640);
    const open: readonly Partial<EtcdConfig>[] = [
      { userName: 'raftseal', passwordPath },
      { certificatePath: member.certificatePath, keyPath },
    ];
    for (const given of open) {
      await expect(readEtcdAccess({ ...plain, ...given })).rejects.toMatchObject({
        code: 'RAFTSEAL_NODE_SECRET_FILE',
        message: expect.stringContaining('chmod 600'),
      });
    }
  });
});

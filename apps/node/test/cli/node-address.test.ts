import { chmodSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { peerCertificates } from '../peer/certificates.ts';
import { temporaryDirectory } from '../temporary-directory.ts';
import { servedNode } from './command-run.ts';

const { member, stranger } = peerCertificates();
const own = { certificatePath: member.certificatePath, keyPath: member.keyPath };
const ca = ['--admin-ca', member.caPath];
const certificate = ['--admin-cert', member.certificatePath, '--admin-key', member.keyPath];

describe('a command for a node with TLS', () => {
  it('is carried out with the CA of its certificate', async () => {
    const { run } = await servedNode(own);
    expect(await run(['status', ...ca])).toMatchObject({ exitCode: 0, stderr: '' });
  });

  it('is refused without that CA, and says what is needed', async () => {
    const { run, operations } = await servedNode(own);
    const otherCa = ['--admin-ca', stranger.certificatePath];
    for (const args of [[], otherCa]) {
      const { exitCode, stderr } = await run(['verify', ...args]);
      expect(exitCode).toBe(1);
      expect(stderr).toMatch(/^raftseal: RAFTSEAL_NODE_UNREACHABLE: .*--admin-ca/);
    }
    expect(operations.calls).toEqual([]);
  });

  it('shows its certificate where the node asks for one', async () => {
    const { run, operations } = await servedNode({ ...own, clientCaPath: member.caPath });
    const theirs = ['--admin-cert', stranger.certificatePath, '--admin-key', stranger.keyPath];
    for (const args of [[], theirs]) {
      const { stderr } = await run(['verify', ...ca, ...args]);
      expect(stderr).toMatch(/^raftseal: RAFTSEAL_NODE_UNREACHABLE: .*--admin-cert/);
    }
    expect(operations.calls).toEqual([]);
    expect((await run(['verify', ...ca, ...certificate])).exitCode).toBe(0);
  });

  it('is refused with half of a certificate, or a key that others can read', async () => {
    const { run } = await servedNode(own);
    for (const half of [certificate.slice(0, 2), certificate.slice(2)]) {
      const { exitCode, stderr } = await run(['status', ...ca, ...half]);
      expect(exitCode).toBe(2);
      expect(stderr).toMatch(/^raftseal: RAFTSEAL_NODE_OPTION: --admin-cert and --admin-key: /);
    }
    const key = join(temporaryDirectory(), 'key');
    copyFileSync(member.keyPath, key);
    chmodSync(key, 0o644);
    const open = ['--admin-cert', member.certificatePath, '--admin-key', key];
    expect((await run(['status', ...ca, ...open])).stderr).toMatch(/RAFTSEAL_NODE_SECRET_FILE/);
  });
});

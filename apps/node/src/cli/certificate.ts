/** What `raftseal verify` does with sealing certificates: has one issued, and checks one. */
import { open, rm } from 'node:fs/promises';
import { codeOf, RaftsealError } from '@raftseal/interface';
import {
  CERTIFICATE_BYTES_MAX,
  type CheckedCertificate,
  checkCertificate,
} from '../certificate/sealing-certificate.ts';
import type { StatedMember } from '../certificate/statement.ts';
import type { AdminClient } from './admin-client.ts';
import { optionError } from './options.ts';
import { table } from './table.ts';

/**
 * Has the cluster issue a certificate, into a file that must not exist: everything is read for it, so
 * the file is made first.
 * @throws RAFTSEAL_NODE_OPTION, and why none was issued
 */
export async function issueCertificate(client: AdminClient, path: string): Promise<string> {
  const file = await open(path, 'wx', 0o644).catch((error: unknown) => {
    throw optionError(`--certificate: ${path} cannot be made (${codeOf(error) ?? 'unexpected'})`);
  });
  try {
    const { certificate } = await client.post<{ certificate: string }>('/v1/certificate', {}, 0);
    const checked = checkCertificate(certificate);
    await file.writeFile(certificate);
    await file.sync();
    return summaryOf(checked);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

/** @throws RAFTSEAL_NODE_OPTION, RAFTSEAL_NODE_SEALING_CERTIFICATE */
export async function checkCertificateFile(
  path: string,
  fingerprint: string | undefined,
): Promise<string> {
  const text = await readBounded(path);
  const checked = checkCertificate(text, fingerprint);
  const advice =
    fingerprint === undefined
      ? 'valid for the key above: compare it with the fingerprint that `raftseal status` shows'
      : 'valid: signed by the key that was expected';
  return `${summaryOf(checked)}\n${advice}`;
}

async function readBounded(path: string): Promise<string> {
  let bytes: Buffer;
  try {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      if (size > CERTIFICATE_BYTES_MAX) {
        throw optionError(`--check-certificate: ${path} is larger than any certificate`);
      }
      bytes = await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof RaftsealError) throw error;
    throw optionError(
      `--check-certificate: ${path} cannot be read (${codeOf(error) ?? 'unexpected'})`,
    );
  }
  return bytes.toString('utf8');
}

export function summaryOf({ statement, fingerprint }: CheckedCertificate): string {
  const { clusterId, issuedAt, issuedBy, release, sealedOnlyIndex, keys, members } = statement;
  const uses = (['active', 'opens only', 'retired'] as const).map((use) => {
    const ids = keys.filter((key) => key.use === use).map(({ dekId }) => dekId);
    return `${use}: ${ids.join(', ') || '-'}`;
  });
  return [
    `cluster ${clusterId}, stated ${issuedAt} by ${issuedBy}, raftseal ${release}`,
    sealedOnlyIndex === null
      ? 'sealed throughout; what is in the clear would still be read'
      : `sealed throughout, and sealed-only since index ${sealedOnlyIndex} of shard 0`,
    `keys ${uses.join('; ')}`,
    '',
    memberTable(members),
    '',
    `signed by key ${fingerprint}`,
  ].join('\n');
}

function memberTable(members: readonly StatedMember[]): string {
  return table(
    ['member', 'role', 'release', 'log entries', 'rows', 'in the clear', 'files', 'bytes'],
    members.map(({ nodeId, role, release, logs, stores, files }) => [
      nodeId,
      role,
      release,
      sum(logs.map(({ sealed }) => sum(Object.values(sealed)))),
      sum(stores.map(({ sealed }) => sum(Object.values(sealed)))),
      sum([...logs, ...stores].map(({ cleartext }) => cleartext)),
      files.length,
      sum(files.map(({ bytes }) => bytes)),
    ]),
  );
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}

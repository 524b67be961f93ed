/** Certificates for hosts that are not on loopback, made with scripts/certificates.mjs. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand } from './command.ts';
import type { Host } from './host.ts';

/** Paths of PEM files. */
export interface CertificateFiles {
  readonly caPath: string;
  readonly certificatePath: string;
  readonly keyPath: string;
}

const script = fileURLToPath(new URL('../../../../scripts/certificates.mjs', import.meta.url));

/** @returns the directory that they are in */
export async function makeCertificates(directory: string, hosts: readonly Host[]): Promise<string> {
  const out = join(directory, 'certificates');
  const names = hosts.map(({ address }) => address).join();
  await runCommand([process.execPath, script, '--out', out, '--hosts', names]);
  return out;
}

export function certificateFiles(directory: string, { address }: Host): CertificateFiles {
  return {
    caPath: join(directory, 'ca.pem'),
    certificatePath: join(directory, `${address}.pem`),
    keyPath: join(directory, `${address}.key`),
  };
}

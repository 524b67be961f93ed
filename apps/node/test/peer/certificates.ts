/** Certificates of a cluster, and of others that are none of it, made by the script for operators. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import type { PeerSecurity } from '../../src/config.ts';

const script = fileURLToPath(new URL('../../../../scripts/certificates.mjs', import.meta.url));

export type MutualTls = Extract<PeerSecurity, { readonly kind: 'mtls' }>;

/** Makes certificates for hosts in a directory, with a CA of its own where there is none yet. */
export function makeCertificates(directory: string, hosts: readonly string[]): void {
  const args = ['--out', directory, '--hosts', hosts.join(',')];
  execFileSync(process.execPath, [script, ...args], { stdio: 'ignore' });
}

export function filesOf(directory: string, host: string): MutualTls {
  return {
    kind: 'mtls',
    caPath: join(directory, 'ca.pem'),
    certificatePath: join(directory, `${host}.pem`),
    keyPath: join(directory, `${host}.key`),
  };
}

/** As node:tls wants them. */
export function pemOf({ caPath, certificatePath, keyPath }: MutualTls): {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
} {
  const [ca, cert, key] = [caPath, certificatePath, keyPath].map((path) => readFileSync(path));
  if (!ca || !cert || !key) throw new Error('three files were read');
  return { ca, cert, key };
}

export interface PeerCertificates {
  /** Of 127.0.0.1, by the CA of the cluster. */
  readonly member: MutualTls;
  /** The same, made as the wrong ones below are. */
  readonly renewed: MutualTls;
  /** By the same CA for the same address, and past its time. */
  readonly expired: MutualTls;
  /** By the same CA, for listening alone. */
  readonly listenerOnly: MutualTls;
  /** By the same CA, for another address. */
  readonly elsewhere: MutualTls;
  /** By another CA of the same name. */
  readonly stranger: MutualTls;
  /** Signed by itself. */
  readonly selfSigned: MutualTls;
}

/** For all tests of a file. */
export function peerCertificates(): PeerCertificates {
  const root = mkdtempSync(join(tmpdir(), 'raftseal-certificates-'));
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  const [ours, theirs] = [join(root, 'ours'), join(root, 'theirs')];
  makeCertificates(ours, ['127.0.0.1', '127.0.0.2', 'renewed', 'expired', 'listener', 'self']);
  makeCertificates(theirs, ['127.0.0.1']);
  const sign = (name: string, days: string, usage: string): MutualTls => {
    const certificate = signAgain(ours, name, { days, usage });
    return { ...filesOf(ours, name), certificatePath: certificate };
  };
  return {
    member: filesOf(ours, '127.0.0.1'),
    renewed: sign('renewed', '1', 'serverAuth, clientAuth'),
    expired: sign('expired', '-1', 'serverAuth, clientAuth'),
    listenerOnly: sign('listener', '1', 'serverAuth'),
    elsewhere: filesOf(ours, '127.0.0.2'),
    // Its own files, trusting the cluster: what a node with a stolen configuration would have.
    stranger: { ...filesOf(theirs, '127.0.0.1'), caPath: filesOf(ours, '').caPath },
    selfSigned: { ...filesOf(ours, 'self'), certificatePath: selfSigned(ours) },
  };
}

/** A certificate of 127.0.0.1 for the key of `name`, with another time and use. */
function signAgain(
  directory: string,
  name: string,
  { days, usage }: { readonly days: string; readonly usage: string },
): string {
  const at = (file: string): string => join(directory, file);
  const request = at(`${name}.request`);
  openssl(['req', '-new', '-key', at(`${name}.key`), '-subj', `/CN=${name}`, '-out', request]);
  const out = at(`${name}-again.pem`);
  const signer = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-set_serial', '77', '-days', days];
  const extensions = at(`${name}.extensions`);
  writeFileSync(extensions, `subjectAltName=IP:127.0.0.1\nextendedKeyUsage=${usage}\n`);
  openssl(['x509', '-req', '-in', request, ...signer, '-extfile', extensions, '-out', out]);
  return out;
}

function selfSigned(directory: string): string {
  const out = join(directory, 'self-signed.pem');
  const names = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  openssl(['req', '-x509', '-key', join(directory, 'self.key'), ...names, '-out', out]);
  return out;
}

function openssl(args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: 'ignore' });
}

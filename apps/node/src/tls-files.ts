/**
 * Certificates and keys in PEM files, read again while the node runs: a certificate that was
 * renewed is used without a restart. Where what is found does not fit together, such as a new
 * certificate whose key is still being written, it is reported, and what was read before stays.
 */
import { X509Certificate } from 'node:crypto';
import { createSecureContext, type TlsOptions } from 'node:tls';
import { codeOf, RaftsealError } from '@raftseal/interface';
import type { ListenerTls } from './config.ts';
import { readPublicFile, readSecretFile } from './secret-file.ts';

export interface TlsPaths {
  readonly certificatePath: string;
  readonly keyPath: string;
  /** What the other side's certificate must be signed by. */
  readonly caPath?: string;
}

/** The files of a listener that may have TLS. */
export async function openListenerTls(
  tls: ListenerTls | undefined,
  parts: TlsFilesParts,
): Promise<TlsFiles | undefined> {
  if (!tls) return undefined;
  const { clientCaPath: caPath, ...own } = tls;
  return TlsFiles.open(caPath === undefined ? own : { ...own, caPath }, parts);
}

/** PEM, under the names that node:tls has for them. */
export interface TlsMaterial {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca?: Buffer;
}

export interface TlsFilesParts {
  /** Told when the files were read again and cannot be used. */
  readonly onFailure?: (error: unknown) => void;
  readonly pollMs?: number;
}

const POLL_MS = 10_000;

export class TlsFiles {
  readonly #paths: TlsPaths;
  readonly #listeners = new Set<(material: TlsMaterial) => void>();
  readonly #timer: NodeJS.Timeout;
  #material: TlsMaterial;

  /** @throws RAFTSEAL_NODE_CERTIFICATE, RAFTSEAL_NODE_SECRET_FILE */
  static async open(paths: TlsPaths, parts: TlsFilesParts = {}): Promise<TlsFiles> {
    return new TlsFiles(paths, await readMaterial(paths), parts);
  }

  private constructor(paths: TlsPaths, material: TlsMaterial, parts: TlsFilesParts) {
    this.#paths = paths;
    this.#material = material;
    const poll = (): void => void this.refresh().catch((error) => parts.onFailure?.(error));
    this.#timer = setInterval(poll, parts.pollMs ?? POLL_MS).unref();
  }

  /** As read last. */
  get material(): TlsMaterial {
    return this.#material;
  }

  /** Calls `listener` after every change. */
  onChange(listener: (material: TlsMaterial) => void): void {
    this.#listeners.add(listener);
  }

  /**
   * Reads the files again, as is done by itself from time to time.
   * @throws RAFTSEAL_NODE_CERTIFICATE, RAFTSEAL_NODE_SECRET_FILE; what was read before stays in use
   */
  async refresh(): Promise<void> {
    const material = await readMaterial(this.#paths);
    if (isSame(material, this.#material)) return;
    this.#material = material;
    for (const listener of this.#listeners) listener(material);
  }

  /** Reads no more. Idempotent. */
  close(): void {
    clearInterval(this.#timer);
    this.#listeners.clear();
  }
}

/** Options of a listener: where there is a CA, who connects must show a certificate of it. */
export function tlsServerOptions(material: TlsMaterial): TlsOptions {
  const mutual = material.ca !== undefined;
  return { ...material, minVersion: 'TLSv1.2', requestCert: mutual, rejectUnauthorized: mutual };
}

async function readMaterial({ certificatePath, keyPath, caPath }: TlsPaths): Promise<TlsMaterial> {
  const key = await readSecretFile('the private key', keyPath);
  const cert = await readCertificates(certificatePath);
  const ca = caPath === undefined ? {} : { ca: await readCertificates(caPath) };
  try {
    createSecureContext({ cert, key });
  } catch (cause) {
    const found = `${keyPath} is not the private key of ${certificatePath}`;
    throw certificateError(`${found}: expected an unencrypted key in PEM that fits`, cause);
  }
  return { cert, key, ...ca };
}

/**
 * Reads certificates in PEM.
 * @throws RAFTSEAL_NODE_CERTIFICATE
 */
export async function readCertificates(path: string): Promise<Buffer> {
  const tooLarge = (): Error => certificateError(`${path} is too large to be a certificate`);
  try {
    const pem = await readPublicFile(path, tooLarge);
    new X509Certificate(pem);
    return pem;
  } catch (error) {
    if (error instanceof RaftsealError) throw error;
    const reason = codeOf(error) ?? 'unexpected error';
    throw certificateError(`${path} cannot be read as a certificate in PEM (${reason})`, error);
  }
}

function certificateError(message: string, cause?: unknown): RaftsealError {
  return new RaftsealError('RAFTSEAL_NODE_CERTIFICATE', message, { cause });
}

function isSame(one: TlsMaterial, other: TlsMaterial): boolean {
  const isSameCa = one.ca && other.ca ? one.ca.equals(other.ca) : one.ca === other.ca;
  return isSameCa && one.cert.equals(other.cert) && one.key.equals(other.key);
}

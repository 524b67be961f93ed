/**
 * A sealing certificate: a {@link Statement} and its signature, in one JSON text.
 *
 * `{"signature":"<128 hex digits>","statement":{...}}` and a line feed, in canonical JSON as a whole.
 * The signature is Ed25519 (RFC 8032) over the canonical JSON of the statement alone, in UTF-8. The
 * statement names the public key, so that the signature covers it too. A reader makes the whole text
 * again from what it has read and compares: so no bit of the file can be changed without notice.
 *
 * The key derives from the keys of the cluster and is the same on every node. A reader without those
 * keys knows it by its fingerprint, the SHA-256 of the public key, which `raftseal status` shows.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
  timingSafeEqual,
  verify,
} from 'node:crypto';
import { assert, RaftsealError } from '@raftseal/interface';
import { canonicalJson } from './canonical-json.ts';
import { STATEMENT_FORMAT, STATEMENT_VERSION, type Statement } from './statement.ts';

const SEED_BYTES = 32;
const PUBLIC_KEY_BYTES = 32;
/** What precedes the seed, or the public key, in PKCS #8 and SubjectPublicKeyInfo (RFC 8410). */
const PRIVATE_KEY_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const PUBLIC_KEY_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
const PUBLIC_KEY = /^[0-9a-f]{64}$/;
const SIGNATURE = /^[0-9a-f]{128}$/;
const FINGERPRINT = /^[0-9a-f]{64}$/;

/** Longest file that is looked at. */
export const CERTIFICATE_BYTES_MAX: number = 64 * 1024 * 1024;

/** The text of a certificate. @param seed 32 bytes, from `NodeKeys.certificateSeed` */
export function signStatement(unsigned: Omit<Statement, 'publicKey'>, seed: Uint8Array): string {
  const key = privateKeyOf(seed);
  const statement: Statement = { ...unsigned, publicKey: publicKeyOf(key).toString('hex') };
  const signature = sign(null, Buffer.from(canonicalJson(statement)), key).toString('hex');
  const text = textOf(statement, signature);
  assert(
    checkCertificate(text).fingerprint === fingerprintOf(seed),
    'what is signed can be checked',
  );
  return text;
}

/** The fingerprint of the key that `seed` gives: 64 hex digits. */
export function fingerprintOf(seed: Uint8Array): string {
  return fingerprint(publicKeyOf(privateKeyOf(seed)));
}

export interface CheckedCertificate {
  readonly statement: Statement;
  /** Of the key that has signed it: 64 hex digits. */
  readonly fingerprint: string;
}

/**
 * Reads a certificate, whoever has signed it; `expected` is the fingerprint of who must have.
 * @throws RAFTSEAL_NODE_SEALING_CERTIFICATE
 */
export function checkCertificate(text: string, expected?: string): CheckedCertificate {
  const { statement, signature } = partsOf(text);
  const publicKey = Buffer.from(statement.publicKey, 'hex');
  const signed = Buffer.from(canonicalJson(statement));
  const key = createPublicKey({
    key: Buffer.concat([PUBLIC_KEY_PREFIX, publicKey]),
    format: 'der',
    type: 'spki',
  });
  if (!verify(null, signed, key, Buffer.from(signature, 'hex'))) {
    throw invalid('its signature is not of its statement: one of them was changed');
  }
  const found = fingerprint(publicKey);
  if (expected !== undefined) checkFingerprint(found, expected);
  return { statement, fingerprint: found };
}

function checkFingerprint(found: string, expected: string): void {
  const normal = expected.toLowerCase();
  if (!FINGERPRINT.test(normal)) {
    throw new RaftsealError(
      'RAFTSEAL_NODE_OPTION',
      '--fingerprint: expected the 64 hex digits that `raftseal status` shows',
    );
  }
  if (timingSafeEqual(Buffer.from(normal), Buffer.from(found))) return;
  throw invalid(`it is signed by the key ${found}, and not by ${normal}`);
}

function partsOf(text: string): { readonly statement: Statement; readonly signature: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid('it is no JSON');
  }
  if (!isRecord(value) || !isRecord(value.statement)) throw invalid('it has no statement');
  const { statement, signature } = value;
  if (typeof signature !== 'string' || !SIGNATURE.test(signature)) {
    throw invalid('it has no signature');
  }
  const { format, version, publicKey } = statement as Record<string, unknown>;
  if (format !== STATEMENT_FORMAT) throw invalid('it states something else');
  if (version !== STATEMENT_VERSION) {
    throw invalid(`it is of version ${String(version)}, and ${STATEMENT_VERSION} is known`);
  }
  if (typeof publicKey !== 'string' || !PUBLIC_KEY.test(publicKey)) {
    throw invalid('it names no public key');
  }
  const stated = statement as unknown as Statement;
  if (canonicalText(stated, signature) !== text) throw invalid('it is not in its canonical form');
  return { statement: stated, signature };
}

function canonicalText(statement: Statement, signature: string): string | undefined {
  try {
    return textOf(statement, signature);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

function textOf(statement: Statement, signature: string): string {
  return `${canonicalJson({ signature, statement })}\n`;
}

function privateKeyOf(seed: Uint8Array): KeyObject {
  assert(seed.length === SEED_BYTES, 'a certificate seed has 32 bytes');
  const key = Buffer.concat([PRIVATE_KEY_PREFIX, seed]);
  try {
    return createPrivateKey({ key, format: 'der', type: 'pkcs8' });
  } finally {
    key.fill(0);
  }
}

function publicKeyOf(privateKey: KeyObject): Buffer {
  const der = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return der.subarray(-PUBLIC_KEY_BYTES);
}

function fingerprint(publicKey: Uint8Array): string {
  return createHash('sha256').update(publicKey).digest('hex');
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_SEALING_CERTIFICATE',
    `expected a sealing certificate as its issuer has signed it; ${found}: believe nothing in it, ` +
      'and get it from its issuer again',
  );
}

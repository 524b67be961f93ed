/**
 * Reads a KEK from an environment variable and unsets it, so that child processes and later dumps
 * of the environment do not have it. Strings cannot be wiped, and the kernel keeps the process's
 * first environment readable to its owner (`/proc/<pid>/environ`): a file is the safer place.
 */
import { type KekProvider, RaftsealError } from '@raftseal/interface';
import { KEK_BYTES, kekInMemory } from '@raftseal/kek-memory';

export interface KekFromEnvOptions {
  /** The variable, such as `RAFTSEAL_KEK`. */
  readonly name: string;
  /** Where it is read and unset; default `process.env`. */
  readonly env?: Record<string, string | undefined>;
}

/**
 * A provider over the KEK in an environment variable: 32 bytes in base64 (44 characters, or 43
 * without padding; either alphabet) or in hex (64 digits). The variable is unset in any case, a
 * refusal included. `kekUri` is `env:` and the name.
 * @throws RAFTSEAL_KEK_ENV_MISSING, RAFTSEAL_KEK_ENV_FORMAT, RAFTSEAL_KEK_ZERO
 */
export function kekFromEnv({ name, env = process.env }: KekFromEnvOptions): KekProvider {
  const text = env[name];
  delete env[name];
  if (text === undefined || text === '') {
    throw new RaftsealError(
      'RAFTSEAL_KEK_ENV_MISSING',
      `expected the environment variable ${name} to hold the KEK; it is not set. Set it to ` +
        '32 random bytes in base64: openssl rand -base64 32.',
    );
  }
  const kek = parseKek(name, text);
  try {
    return kekInMemory({ kek, kekUri: `env:${name}` });
  } finally {
    kek.fill(0);
  }
}

function parseKek(name: string, text: string): Buffer {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex');
  if (/^[0-9a-z+/]{43}=?$/i.test(text)) return decodeBase64(name, text, 'base64');
  if (/^[0-9a-z_-]{43}=?$/i.test(text)) return decodeBase64(name, text, 'base64url');
  throw wrongFormat(name, describeText(text));
}

/** The last character of 43 carries two bits that must be 0: else two texts give one key. */
function decodeBase64(name: string, text: string, alphabet: 'base64' | 'base64url'): Buffer {
  const kek = Buffer.from(text, alphabet);
  const canonical = kek.toString(alphabet).replace('=', '');
  if (kek.length === KEK_BYTES && canonical === text.replace('=', '')) return kek;
  kek.fill(0);
  throw wrongFormat(name, 'base64 whose last character is not canonical');
}

function describeText(text: string): string {
  const trimmed = text.trim();
  if (trimmed !== text) return 'white space around the text; remove it';
  if (/^(["']).*\1$/.test(text)) return 'quotation marks around the text; remove them';
  return `${text.length} characters`;
}

function wrongFormat(name: string, found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_ENV_FORMAT',
    `expected ${name} to be ${KEK_BYTES} bytes in base64 (44 characters) or hex (64 digits); ` +
      `found ${found}. Such a text is made by: openssl rand -base64 32.`,
  );
}

/** The admin token: a file of its own, 0600, made at the first start unless the operator gives one. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { open } from 'node:fs/promises';
import { codeOf, RaftsealError } from '@raftseal/interface';
import { writeFlushed } from '../data-directory.ts';

const TOKEN_BYTES = 32;
const TOKEN_CHARACTERS_MIN = 16;
const TOKEN_CHARACTERS_MAX = 1024;

/** @throws RAFTSEAL_NODE_ADMIN_TOKEN */
export async function readOrMakeToken(path: string): Promise<string> {
  try {
    await writeFlushed(path, `${randomBytes(TOKEN_BYTES).toString('base64url')}\n`);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw tokenError(path, 'cannot be made', error);
  }
  return readToken(path);
}

/** @throws RAFTSEAL_NODE_ADMIN_TOKEN */
export async function readToken(path: string): Promise<string> {
  let text: string;
  try {
    const handle = await open(path, 'r');
    try {
      const { mode } = await handle.stat();
      if ((mode & 0o077) !== 0) throw tokenError(path, 'can be read by others: chmod 600');
      const buffer = Buffer.alloc(TOKEN_CHARACTERS_MAX + 2);
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
      text = buffer.toString('utf8', 0, bytesRead).trim();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof RaftsealError) throw error;
    throw tokenError(path, `cannot be read (${codeOf(error) ?? 'unexpected error'})`, error);
  }
  const problem = tokenProblem(text);
  if (problem !== undefined) throw tokenError(path, problem);
  return text;
}

/** What keeps a text from being a token; undefined where nothing does. */
export function tokenProblem(text: string): string | undefined {
  // Anything else would not arrive in an HTTP header as it was sent.
  const printable = /^[!-~]+$/.test(text);
  if (printable && text.length >= TOKEN_CHARACTERS_MIN && text.length <= TOKEN_CHARACTERS_MAX) {
    return undefined;
  }
  return `must hold one word of ${TOKEN_CHARACTERS_MIN} to ${TOKEN_CHARACTERS_MAX} ASCII characters`;
}

/** Compares digests, so that neither content nor length of the token shows in the time taken. */
export function bearsToken(header: string | undefined, token: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(header ?? ''), digest(`Bearer ${token}`));
}

function tokenError(path: string, what: string, cause?: unknown): RaftsealError {
  return new RaftsealError('RAFTSEAL_NODE_ADMIN_TOKEN', `the admin token file ${path} ${what}`, {
    cause,
  });
}

/** Files that hold a secret or a key: small, and closed to everybody but their owner. */
import { type FileHandle, open } from 'node:fs/promises';
import { codeOf, RaftsealError } from '@raftseal/interface';

const BYTES_MAX = 256 * 1024;

/**
 * Reads a file whose content others must not know.
 * @param what names the secret in refusals, such as `the peer token`
 * @throws RAFTSEAL_NODE_SECRET_FILE
 */
export async function readSecretFile(what: string, path: string): Promise<Buffer> {
  try {
    const handle = await open(path, 'r');
    try {
      const { mode } = await handle.stat();
      if ((mode & 0o077) !== 0) throw secretError(what, path, 'can be read by others: chmod 600');
      return await readBounded(handle, () => secretError(what, path, 'is too large to be one'));
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof RaftsealError) throw error;
    const reason = codeOf(error) ?? 'unexpected error';
    throw secretError(what, path, `cannot be read (${reason})`, error);
  }
}

/** Reads a file that may be read by others, such as a certificate. */
export async function readPublicFile(path: string, tooLarge: () => Error): Promise<Buffer> {
  const handle = await open(path, 'r');
  try {
    return await readBounded(handle, tooLarge);
  } finally {
    await handle.close();
  }
}

export function secretError(
  what: string,
  path: string,
  problem: string,
  cause?: unknown,
): RaftsealError {
  const message = `${what} in ${path} ${problem}`;
  return new RaftsealError('RAFTSEAL_NODE_SECRET_FILE', message, { cause });
}

async function readBounded(handle: FileHandle, tooLarge: () => Error): Promise<Buffer> {
  const buffer = Buffer.alloc(BYTES_MAX + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length, length);
    length += bytesRead;
    if (length > BYTES_MAX) throw tooLarge();
    if (bytesRead === 0) return buffer.subarray(0, length);
  }
}

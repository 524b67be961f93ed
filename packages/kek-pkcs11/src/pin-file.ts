/**
 * Reads the file that pin-source names. As with a KEK file, every check is on the open descriptor,
 * links are followed, and what they lead to is what is checked.
 */
import { constants, type FileHandle, open } from 'node:fs/promises';
import { codeOf, RaftsealError } from '@raftseal/interface';

// Windows has neither: the constants are undefined there.
const withoutWaiting = (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0);

const GROUP_AND_OTHERS = 0o077;
const PIN_BYTES_MAX = 256;
const LINE_ENDS: readonly (number | undefined)[] = [0x0a, 0x0d];

/**
 * The PIN in a file that is regular, readable by its owner only, and owned by this process's
 * effective user or root. One line end after the PIN is left out.
 * @returns bytes that the caller owns and wipes.
 * @throws RAFTSEAL_KEK_PKCS11_PIN_FILE
 */
export async function readPin(path: string): Promise<Uint8Array> {
  // Room for a line end, and for one byte more than that, so that a longer file shows.
  const content = Buffer.alloc(PIN_BYTES_MAX + 3);
  try {
    const length = await readChecked(path, content);
    return pinIn(path, content.subarray(0, length));
  } finally {
    content.fill(0);
  }
}

async function readChecked(path: string, into: Buffer): Promise<number> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, constants.O_RDONLY | withoutWaiting);
    const stats = await handle.stat();
    if (!stats.isFile()) throw refused(path, 'a directory or a special file');
    checkAccess(path, stats);
    return (await handle.read(into, 0, into.length, 0)).bytesRead;
  } catch (error) {
    if (error instanceof RaftsealError) throw error;
    throw refused(path, `that opening or reading it fails (${codeOf(error) ?? 'an error'})`, error);
  } finally {
    await handle?.close();
  }
}

function checkAccess(path: string, { mode, uid }: { mode: number; uid: number }): void {
  const effectiveUser = process.geteuid?.();
  if (effectiveUser === undefined) return;
  if (uid !== effectiveUser && uid !== 0) throw refused(path, `that it belongs to user ${uid}`);
  if ((mode & GROUP_AND_OTHERS) !== 0) {
    const found = `mode 0${(mode & 0o777).toString(8)}: others may have read the PIN`;
    throw refused(path, found);
  }
}

function pinIn(path: string, content: Buffer): Uint8Array {
  let end = content.length;
  if (content[end - 1] === LINE_ENDS[0]) end -= 1;
  if (content[end - 1] === LINE_ENDS[1]) end -= 1;
  const pin = Uint8Array.from(content.subarray(0, end));
  if (pin.length === 0) throw refused(path, 'no PIN in it');
  if (pin.length <= PIN_BYTES_MAX && !pin.some((byte) => LINE_ENDS.includes(byte))) return pin;
  pin.fill(0);
  throw refused(path, `several lines, or more than ${PIN_BYTES_MAX} bytes`);
}

function refused(path: string, found: string, cause?: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_PKCS11_PIN_FILE',
    `expected ${path} to be a regular file of mode 0600 or 0400, of this process's user or root, ` +
      `with the PIN as its only line; found ${found}. Correct the file, or pin-source.`,
    cause === undefined ? {} : { cause },
  );
}

/**
 * Says what a KEK file of the wrong length looks like, from its first bytes and its size, so that
 * the operator sees the slip. Never quotes the content.
 */
import { KEK_BYTES } from '@raftseal/kek-memory';

const NEWLINE = 0x0a;
const HEX_DIGITS = 2 * KEK_BYTES;
const BASE64_CHARACTERS = 44;

/**
 * @param start the first bytes of the file, up to 33.
 * @param sizeBytes the size of the whole file.
 */
export function describeContent(start: Uint8Array, sizeBytes: number): string {
  const text = Buffer.from(start).toString('latin1');
  const isLong = (length: number): boolean => sizeBytes === length || sizeBytes === length + 1;
  if (start.length === 0) return 'found an empty file. Restore it, or create a new KEK.';
  if (isLong(HEX_DIGITS) && /^[0-9a-f]+$/i.test(text)) {
    return `it looks like ${HEX_DIGITS} hex digits. Decode them first: xxd -r -p.`;
  }
  if (isLong(BASE64_CHARACTERS) && /^[0-9a-z+/_-]+$/i.test(text)) {
    return `it looks like ${BASE64_CHARACTERS} base64 characters. Decode them first: base64 -d.`;
  }
  if (sizeBytes === KEK_BYTES + 1 && start[KEK_BYTES] === NEWLINE) {
    return 'it looks like a KEK and a newline. Write the file without the newline.';
  }
  return `found ${Math.max(sizeBytes, start.length)} bytes. Check that it is the KEK file.`;
}

/** Base64 (RFC 4648 section 4) as services write it in JSON. */

export function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}

/**
 * The bytes, in a buffer of their own that the caller wipes; undefined for a text that is not
 * base64 in its one canonical form. Node's own decoder skips what it does not know.
 */
export function bytesOfBase64(text: string): Buffer | undefined {
  const bytes = Buffer.alloc(Buffer.byteLength(text, 'base64'));
  bytes.write(text, 'base64');
  if (bytes.toString('base64') === text) return bytes;
  bytes.fill(0);
  return undefined;
}

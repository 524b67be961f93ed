/**
 * A gate before the msgpack decoder. The decoder builds objects that a key state never holds
 * (RegExp, Error, Set, record readers made with `new Function`), and it runs before the MAC can be
 * checked: the DEK behind the MAC is itself found in the document. So bytes pass here first, and
 * only arrays, unsigned integers, strings, byte strings and nil do (msgpack specification,
 * "Formats"): no map, extension, float, boolean or negative number; no more than `DEPTH_MAX`
 * levels; every length inside the input; nothing after the first value.
 */

/** The document needs 5: document, keys, key, wraps, wrap. */
const DEPTH_MAX = 6;

interface Token {
  /** Bytes of the token itself and of a string's or byte string's content. */
  readonly size: number;
  /** Elements that follow, for an array; 0 otherwise. */
  readonly elements: number;
}

/** Why `bytes` is not one plain value, or undefined where it is. */
export function plainMsgpackProblem(bytes: Uint8Array): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** Elements still to come, by level. */
  const open: number[] = [1];
  let at = 0;
  while (open.length > 0) {
    const left = open.pop() ?? 0;
    if (left === 0) continue;
    open.push(left - 1);
    const token = at < bytes.length ? readToken(view, at) : undefined;
    if (token === undefined) return `no plain value at byte ${at}`;
    at += token.size;
    // Each element takes at least one byte, so that no claim outgrows the input.
    if (at > bytes.length || token.elements > bytes.length - at) return 'a length past the end';
    if (token.elements > 0) open.push(token.elements);
    if (open.length > DEPTH_MAX + 1) return `more than ${DEPTH_MAX} levels of arrays`;
  }
  return at === bytes.length ? undefined : `${bytes.length - at} bytes after the end`;
}

/** The token at `at`, or undefined where it is none of the plain ones or is cut short. */
function readToken(view: DataView, at: number): Token | undefined {
  const byte = view.getUint8(at);
  if (byte <= 0x7f || byte === 0xc0) return { size: 1, elements: 0 };
  if (byte >= 0x90 && byte <= 0x9f) return { size: 1, elements: byte - 0x90 };
  if (byte >= 0xa0 && byte <= 0xbf) return { size: 1 + byte - 0xa0, elements: 0 };
  const integerBytes = integerSizes.get(byte);
  if (integerBytes !== undefined) {
    // 0xd3 is signed: its first bit must be clear.
    const negative = byte === 0xd3 && at + 1 < view.byteLength && view.getInt8(at + 1) < 0;
    return negative ? undefined : { size: 1 + integerBytes, elements: 0 };
  }
  const lengthBytes = lengthSizes.get(byte);
  if (lengthBytes === undefined || at + 1 + lengthBytes > view.byteLength) return undefined;
  const length = readLength(view, at + 1, lengthBytes);
  return byte === 0xdc || byte === 0xdd
    ? { size: 1 + lengthBytes, elements: length }
    : { size: 1 + lengthBytes + length, elements: 0 };
}

/** uint 8, 16, 32, 64 and int 64 (which carries every bigint below 2^63). */
const integerSizes: ReadonlyMap<number, number> = new Map([
  [0xcc, 1],
  [0xcd, 2],
  [0xce, 4],
  [0xcf, 8],
  [0xd3, 8],
]);

/** bin 8, 16, 32; str 8, 16, 32; array 16, 32: bytes of the length that follows. */
const lengthSizes: ReadonlyMap<number, number> = new Map([
  [0xc4, 1],
  [0xc5, 2],
  [0xc6, 4],
  [0xd9, 1],
  [0xda, 2],
  [0xdb, 4],
  [0xdc, 2],
  [0xdd, 4],
]);

function readLength(view: DataView, at: number, lengthBytes: number): number {
  if (lengthBytes === 1) return view.getUint8(at);
  return lengthBytes === 2 ? view.getUint16(at) : view.getUint32(at);
}

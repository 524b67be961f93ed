/**
 * What a command answers, before RESP2 or RESP3 encodes it. Strings are byte strings: every char
 * code is one byte (0..255), so a JavaScript string holds any Redis string without a Buffer.
 */
export type ByteString = string;

export type Reply =
  /** A bulk string. */
  | ByteString
  /** An integer (a safe one; beyond that, bigint). */
  | number
  | bigint
  /** The null bulk string. */
  | null
  | boolean
  | readonly Reply[]
  | TaggedReply;

export type TaggedReply =
  | { readonly kind: 'simple'; readonly text: string }
  /** `text` starts with the error's code word, such as `ERR` or `WRONGTYPE`. */
  | { readonly kind: 'error'; readonly text: string }
  /** RESP3 map; in RESP2 a flat array. */
  | { readonly kind: 'map'; readonly entries: readonly (readonly [Reply, Reply])[] }
  /** RESP3 array of arrays of two; in RESP2 a flat array. */
  | { readonly kind: 'pairs'; readonly entries: readonly (readonly [Reply, Reply])[] }
  /** RESP3 set; in RESP2 an array. */
  | { readonly kind: 'set'; readonly items: readonly Reply[] }
  /** RESP3 double; in RESP2 a bulk string of the same text. */
  | { readonly kind: 'double'; readonly text: string }
  /** RESP3 verbatim string; in RESP2 a bulk string. */
  | { readonly kind: 'verbatim'; readonly format: 'txt' | 'mkd'; readonly text: ByteString }
  /** The null array of RESP2 (`*-1`); null in RESP3. */
  | { readonly kind: 'null-array' };

export const okReply: Reply = { kind: 'simple', text: 'OK' };
export const nullArrayReply: Reply = { kind: 'null-array' };

/** An error reply; `text` starts with its code word. */
export function errorReply(text: string): Reply {
  return { kind: 'error', text };
}

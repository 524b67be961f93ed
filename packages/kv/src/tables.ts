/** The tables of a shard's environment. Their order is their number in a write batch. */
import type { TableDefinition } from './store-thread.ts';

export const META_TABLE = 0;
export const CLEAR_ROWS_TABLE = 1;
export const CLEAR_EXPIRY_TABLE = 2;
export const SEALED_ROWS_TABLE = 3;
export const SEALED_EXPIRY_TABLE = 4;

/** Row keys differ from their first byte on; times of expiry from their fourth. */
export const tables: readonly TableDefinition[] = [
  { name: 'meta', prefixOffset: 0 },
  { name: 'clear', prefixOffset: 0 },
  { name: 'clear-expiry', prefixOffset: 3 },
  { name: 'sealed', prefixOffset: 0 },
  { name: 'sealed-expiry', prefixOffset: 3 },
];

/** A log without end: the commands of every index, the same in every process. */
import type { ByteString } from '@raftseal/interface';
import { batchOf, type TestBatch } from './batch.ts';

/** A small generator with a good spread of bits (Mulberry32). */
function numbersOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const FIRST_MS = 1_700_000_000_000;
const KEYS = 400;

/** Most of them are not idempotent: applied twice, or not at all, they show. */
function commandOf(random: () => number): readonly ByteString[] {
  const pick = (limit: number): number => Math.floor(random() * limit);
  const key = `k${pick(KEYS)}`;
  const hash = `h${pick(KEYS / 8)}`;
  const choice = pick(1000);
  if (choice < 300) return ['incr', key];
  if (choice < 450) return ['append', `a${pick(KEYS)}`, `${choice}`];
  if (choice < 700) return ['hincrby', hash, `f${pick(20)}`, `${pick(9)}`];
  if (choice < 800) return ['set', `s${pick(KEYS)}`, 'x'.repeat(pick(300))];
  if (choice < 860) return ['del', key, hash];
  if (choice < 900) return ['rename', `s${pick(KEYS)}`, `s${pick(KEYS)}`];
  if (choice < 940) return ['pexpire', key, `${1 + pick(200_000)}`];
  if (choice < 970) return ['hdel', hash, `f${pick(20)}`, `f${pick(20)}`];
  if (choice < 999) return ['copy', `a${pick(KEYS)}`, `s${pick(KEYS)}`, 'replace'];
  return pick(40) === 0 ? ['flushall'] : ['persist', key];
}

export function timeOf(index: bigint): number {
  return FIRST_MS + Number(index) * 20;
}

export function entryOf(index: bigint): TestBatch {
  const random = numbersOf(Number(index) * 7919);
  const commands = Array.from({ length: 12 }, () => commandOf(random));
  return batchOf(index, timeOf(index), ...commands);
}

/**
 * What the entries of a store do, the same in every process: entry n sets a key of its own to a
 * text of its own, and counts itself. So the state of any index is known, and an entry that is
 * missing, or was applied twice, shows.
 */
import { Keyring, NonceSequence, StoreRowSeal } from '@raftseal/envelope';
import type { CommandBatch } from '@raftseal/interface';
import { encodeCommand, type KvStateMachine } from '@raftseal/kv';

export const STORE_SHARD = 1;
/** Stands in every value: what is in the clear shows in the file. */
export const CLEARTEXT_MARK = 'this-is-in-the-clear';

const FIRST_MS = 1_700_000_000_000;
const DEK = { index: 11, storage: 12 } as const;
const VALUE_BYTES = 400;

/** @param nonceEpoch each process that seals must use its own. */
export function rowSeal(nonceEpoch: number): StoreRowSeal {
  const keyring = new Keyring();
  keyring.add(DEK.index, 'index', new Uint8Array(32).fill(3));
  keyring.add(DEK.storage, 'storage', new Uint8Array(32).fill(4));
  const seal = new StoreRowSeal({
    clusterId: new Uint8Array(16).fill(1),
    keyring,
    indexDekId: DEK.index,
    isUsedUp: () => false,
  });
  const nonces = new NonceSequence({ writerId: 1, nonceEpoch });
  seal.setActive({ dekId: DEK.storage, nonces });
  return seal;
}

export function timeOf(index: bigint): number {
  return FIRST_MS + Number(index);
}

export function textOf(index: bigint): string {
  return `${index} ${CLEARTEXT_MARK} `.repeat(20).slice(0, VALUE_BYTES);
}

class Entry implements CommandBatch {
  readonly index: bigint;
  readonly timestampMs: number;
  readonly count: number;
  readonly bytes: Buffer;
  start = 0;
  end = 0;
  readonly #lengths: number[];

  constructor(index: bigint, commands: readonly Buffer[]) {
    this.index = index;
    this.timestampMs = timeOf(index);
    this.count = commands.length;
    this.bytes = Buffer.concat(commands);
    this.#lengths = commands.map(({ length }) => length);
  }

  next(): boolean {
    const length = this.#lengths.shift();
    if (length === undefined) return false;
    this.start = this.end;
    this.end = this.start + length;
    return true;
  }
}

/** Applies the entries from the one after the last applied up to an index. */
export function applyThrough(machine: KvStateMachine, index: bigint): void {
  for (let next = machine.appliedIndex + 1n; next <= index; next++) {
    const commands = [
      ['set', `key:${next}`, textOf(next)],
      ['incr', 'count'],
    ];
    machine.apply(new Entry(next, commands.map(encodeCommand)));
  }
}

/** What is wrong with a state that is to be that of its own index. */
export function stateProblems(machine: KvStateMachine): string[] {
  const index = machine.durableIndex;
  const problems: string[] = [];
  const expect = (what: string, found: unknown, wanted: unknown): void => {
    if (found !== wanted) problems.push(`${what} of index ${index} is not what was written`);
  };
  const nowMs = timeOf(index);
  expect('the number of keys', machine.size(), index === 0n ? 0 : Number(index) + 1);
  expect('the count', machine.query(['get', 'count'], nowMs), index === 0n ? null : `${index}`);
  for (let at = 1n; at <= index; at++) {
    expect(`key ${at}`, machine.query(['get', `key:${at}`], nowMs), textOf(at));
  }
  return problems;
}

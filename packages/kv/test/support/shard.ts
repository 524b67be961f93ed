/** A shard in a directory of its own, with a clock and a log that the test drives. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ByteString, errorReply, type Reply } from '@raftseal/interface';
import {
  commandTable,
  encodeCommand,
  encodeTransaction,
  type KvOptions,
  KvStateMachine,
  type WatchedKey,
} from '../../src/index.ts';
import { batchOf, TestBatch } from './batch.ts';

export const START_MS = 1_700_000_000_000;

export class TestShard {
  readonly options: KvOptions;
  machine: KvStateMachine;
  nowMs: number = START_MS;

  private constructor(options: KvOptions, machine: KvStateMachine) {
    this.options = options;
    this.machine = machine;
  }

  static async open(options: Partial<KvOptions> = {}): Promise<TestShard> {
    const whole: KvOptions = {
      directory: options.directory ?? mkdtempSync(join(tmpdir(), 'raftseal-kv-')),
      shardId: 3,
      seal: 'cleartext',
      // Checkpoints are the test's, unless it asks for others.
      checkpointAgeMs: 3_600_000,
      checkpointIdleMs: 3_600_000,
      ...options,
    };
    return new TestShard(whole, await KvStateMachine.open(whole));
  }

  /** Applies one command as an entry, as if it came from a client's words. */
  run(...args: ByteString[]): Reply {
    const [reply] = this.machine.apply(batchOf(this.machine.appliedIndex + 1n, this.nowMs, args));
    return reply ?? null;
  }

  /** A line of words. */
  line(text: string): Reply {
    return this.run(...text.split(' '));
  }

  query(...args: ByteString[]): Reply {
    return this.machine.query(args, this.nowMs);
  }

  /** As a client has it done: reads are queried, writes are looked at, and applied. */
  ask(...args: ByteString[]): Reply {
    const spec = commandTable.get((args[0] ?? '').toLowerCase());
    if (spec?.kind === 'read') return this.query(...args);
    const refusal = this.machine.refusal(encodeCommand(args));
    return refusal === undefined
      ? this.run(...args)
      : errorReply(`${refusal.code} ${refusal.message}`);
  }

  applyRaw(...commands: Buffer[]): Reply[] {
    return this.machine.apply(new TestBatch(this.machine.appliedIndex + 1n, this.nowMs, commands));
  }

  transaction(commands: readonly (readonly ByteString[])[], watched: WatchedKey[] = []): Reply {
    return this.applyRaw(encodeTransaction({ commands, watched }))[0] ?? null;
  }

  scanAll(count = 7): ByteString[] {
    return scanAll(this.machine, this.nowMs, count);
  }

  state(): string {
    return stateOf(this.machine, this.nowMs);
  }

  async reopen(options: Partial<KvOptions> = {}): Promise<void> {
    await this.machine.close();
    this.machine = await KvStateMachine.open({ ...this.options, ...options });
  }

  async dispose(): Promise<void> {
    await this.machine.close().catch(() => undefined);
    rmSync(this.options.directory, { recursive: true, force: true });
  }
}

/** Every key by SCAN, sorted. */
export function scanAll(machine: KvStateMachine, nowMs: number, count = 7): ByteString[] {
  const found = new Set<ByteString>();
  let cursor = 0n;
  do {
    const page = machine.scan(cursor, { count }, nowMs);
    for (const key of page.keys) found.add(key);
    cursor = page.cursor;
  } while (cursor !== 0n);
  return [...found].sort();
}

/** The whole logical state, as text: what two replicas at one index must agree on. */
export function stateOf(machine: KvStateMachine, nowMs: number): string {
  const query = (...args: ByteString[]): Reply => machine.query(args, nowMs);
  const rows = scanAll(machine, nowMs).map((key) => {
    const isHash = JSON.stringify(query('type', key)).includes('hash');
    const value = query(isHash ? 'hgetall' : 'get', key);
    return [key, value, query('pexpiretime', key), machine.versionOf(key, nowMs)];
  });
  return JSON.stringify(rows, (_, value) => (typeof value === 'bigint' ? `${value}n` : value));
}

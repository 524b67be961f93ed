/**
 * The clients of a run: each does one thing at a time, and notes what it was told. Writes carry
 * values that nobody writes twice.
 */
import { codeOf, type RaftsealError, type Reply as StoreReply } from '@raftseal/interface';
import { encodeCommand, encodeTransaction } from '@raftseal/kv';
import type { Command, Operation, Reply } from '@raftseal/rigs/linearizability';
import type { Random } from '@raftseal/rigs/random';
import type { NodeProcess } from './node-process.ts';
import type { VirtualClock } from './virtual-clock.ts';

export interface ClientsParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly shardIds: readonly number[];
  readonly thinkMs: number;
  /** Whom a client asks: who leads the shard, as a rule. */
  readonly processFor: (shardId: number) => NodeProcess | undefined;
}

interface Pending {
  readonly process: NodeProcess;
  readonly settle: (outcome: Outcome) => void;
}

type Outcome = { readonly replies: readonly Reply[] } | 'not done' | 'unknown';

/** Refusals that promise that nothing was appended. */
const notAppended: ReadonlySet<string> = new Set([
  'RAFTSEAL_SHARD_GROUP_NOT_LEADER',
  'RAFTSEAL_SHARD_GROUP_OVERLOADED',
  'RAFTSEAL_SHARD_GROUP_STOPPED',
  'RAFTSEAL_NODE_NOT_READY',
  'RAFTSEAL_NODE_WRITER_NOT_REGISTERED',
]);

const FIELDS = ['f0', 'f1', 'f2'];
const THINK_AFTER_REFUSAL_MS = 15;

export class Clients {
  /** Everything that took effect, or may have. */
  readonly operations: Operation[] = [];
  /** By code. */
  readonly refusals: Map<string, number> = new Map();
  readonly #parts: ClientsParts;
  readonly #pending = new Set<Pending>();
  #moments = 0;
  #values = 0;
  #isOver = false;

  constructor(parts: ClientsParts) {
    this.#parts = parts;
  }

  /** Commands that clients wait for. */
  get waiting(): number {
    return this.#pending.size;
  }

  start(count: number): void {
    for (let client = 0; client < count; client++) void this.#run(client);
  }

  /** Nothing new is asked for. */
  stop(): void {
    this.#isOver = true;
  }

  /** Whoever asked a process that is gone is not answered. */
  processEnded(process: NodeProcess): void {
    for (const pending of this.#pending) {
      if (pending.process === process) pending.settle('unknown');
    }
  }

  /** Asks for something once. @returns whether it was done */
  async perform(client: number, shardId: number, commands: readonly Command[]): Promise<boolean> {
    const process = this.#parts.processFor(shardId);
    if (process === undefined) return false;
    const invokedAt = this.#moment();
    const outcome = await this.#ask(process, shardId, commands);
    if (outcome === 'not done') return false;
    const isUnknown = outcome === 'unknown';
    this.operations.push({
      client,
      commands,
      invokedAt,
      returnedAt: isUnknown ? Number.POSITIVE_INFINITY : this.#moment(),
      replies: isUnknown ? undefined : outcome.replies,
    });
    return !isUnknown;
  }

  /** The keys that clients use at a shard. */
  keysOf(shardId: number): readonly string[] {
    return ['n', 'l', 'r', 'h'].map((kind) => keyOf(shardId, kind));
  }

  /** What reads all that is at a shard. */
  readersOf(shardId: number): readonly Command[] {
    const key = keyOf(shardId, 'h');
    const fields = FIELDS.map((field): Command => ['HGET', key, field]);
    const strings = ['n', 'l', 'r'].map((kind): Command => ['GET', keyOf(shardId, kind)]);
    return [...strings, ...fields];
  }

  async #run(client: number): Promise<void> {
    const { clock, random, shardIds, thinkMs } = this.#parts;
    while (!this.#isOver) {
      await clock.sleep(-Math.log(1 - random.fraction()) * thinkMs);
      if (this.#isOver) return;
      const shardId = random.pick(shardIds);
      const isDone = await this.perform(client, shardId, this.#draw(shardId));
      if (!isDone) await clock.sleep(THINK_AFTER_REFUSAL_MS);
    }
  }

  #draw(shardId: number): readonly Command[] {
    const { random } = this.#parts;
    const key = (kind: string): string => keyOf(shardId, kind);
    const value = `${this.#values++}`;
    const field = random.pick(FIELDS);
    const drawn = random.below(100);
    if (drawn < 15) return [['SET', key('r'), value]];
    if (drawn < 20) return [['GETSET', key('r'), value]];
    if (drawn < 23) return [['DEL', key('r')]];
    if (drawn < 33) return [['GET', key('r')]];
    if (drawn < 45) return [['INCR', key('n')]];
    if (drawn < 60) return [['APPEND', key('l'), `${value},`]];
    if (drawn < 67) return [['GET', key('l')]];
    if (drawn < 77) return [['HSET', key('h'), field, value]];
    if (drawn < 80) return [['HDEL', key('h'), field]];
    if (drawn < 88) return [['HGET', key('h'), field]];
    return [
      ['INCR', key('n')],
      ['APPEND', key('l'), `${value},`],
    ];
  }

  async #ask(
    process: NodeProcess,
    shardId: number,
    commands: readonly Command[],
  ): Promise<Outcome> {
    const shard = process.shards[shardId];
    const [command] = commands;
    if (shard === undefined || command === undefined) return 'not done';
    if (readers.has(command[0])) {
      try {
        return { replies: [replyOf(shard.query(command, Date.now()))] };
      } catch (error) {
        return this.#refused(error);
      }
    }
    const isAlone = commands.length === 1;
    const encoded = isAlone ? encodeCommand(command) : encodeTransaction({ commands, watched: [] });
    return new Promise((resolve) => {
      const settle = (outcome: Outcome): void => {
        this.#pending.delete(pending);
        resolve(outcome);
      };
      const pending: Pending = { process, settle };
      this.#pending.add(pending);
      shard.propose(encoded, (error, reply) => {
        if (!this.#pending.has(pending)) return;
        if (error) settle(this.#refused(error));
        else if (isAlone) settle({ replies: [replyOf(reply)] });
        else settle({ replies: Array.isArray(reply) ? reply.map(replyOf) : [] });
      });
    });
  }

  #refused(error: unknown): 'not done' | 'unknown' {
    const code = codeOf(error) ?? `${(error as RaftsealError).message}`;
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
    return notAppended.has(code) ? 'not done' : 'unknown';
  }

  #moment(): number {
    return this.#moments++;
  }
}

const readers: ReadonlySet<string> = new Set(['GET', 'HGET', 'HLEN']);

/** Keys that a transaction may touch share a hash tag. */
function keyOf(shardId: number, kind: string): string {
  const tag = kind === 'n' || kind === 'l' ? `${shardId}nl` : `${shardId}${kind}`;
  return `{${tag}}${kind}`;
}

function replyOf(reply: StoreReply): Reply {
  if (reply === null || typeof reply === 'string' || typeof reply === 'number') return reply;
  if (typeof reply === 'bigint') return Number(reply);
  if (typeof reply === 'object' && 'kind' in reply) {
    if (reply.kind === 'simple') return reply.text;
    if (reply.kind === 'error') return { error: reply.text };
  }
  return { error: `unexpected reply ${JSON.stringify(reply)}` };
}

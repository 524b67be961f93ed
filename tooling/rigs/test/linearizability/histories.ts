/** Histories for tests: written by hand, or made of a real execution that is then blurred. */
import type { Command, History, Operation, Reply } from '../../src/linearizability/operation.ts';
import { isReadOnly, type Keys, noKeys, stepOf } from '../../src/linearizability/redis-model.ts';
import type { Random } from '../../src/random.ts';

/**
 * One operation, as `op(0, 10, 'SET k a', 'OK')`. Without an end it has no answer.
 * @param text commands, separated by semicolons
 */
export function op(
  invokedAt: number,
  returnedAt: number | undefined,
  text: string,
  ...replies: readonly Reply[]
): Operation {
  const commands = text.split('; ').map((command) => command.split(' ') as unknown as Command);
  const client = operations++;
  const known = returnedAt !== undefined;
  return {
    client,
    commands,
    invokedAt: invokedAt + client * 1e-9,
    returnedAt: known ? returnedAt + client * 1e-9 : Number.POSITIVE_INFINITY,
    replies: known ? replies : undefined,
  };
}

let operations = 0;

export interface HistoryShape {
  readonly operations: number;
  readonly clients: number;
  /** How many operations get no answer; half of those took effect. */
  readonly unknownShare: number;
}

/** A history that is linearizable, since it was executed. */
export interface Execution {
  readonly history: History;
  /** The operations that took effect, in that order, each with the moment at which it did. */
  readonly effects: readonly { readonly operation: Operation; readonly at: number }[];
}

/** Executes commands one after the other and surrounds each with a window in which it may have been. */
export function randomExecution(random: Random, shape: HistoryShape): Execution {
  const freeAt = Array.from({ length: shape.clients }, () => 0);
  const effects: { operation: Operation; at: number }[] = [];
  const history: Operation[] = [];
  let keys: Keys = noKeys;
  for (let n = 0; n < shape.operations; n++) {
    const client = random.below(shape.clients);
    const at = Math.max(n * 10, (freeAt[client] ?? 0) + 1) + random.fraction();
    const earliest = Math.max(freeAt[client] ?? 0, at - 60);
    const invokedAt = random.between(earliest, at);
    const returnedAt = at + random.between(0, 60);
    freeAt[client] = returnedAt;
    effects.push({
      at,
      operation: {
        client,
        commands: randomCommands(random, n),
        invokedAt,
        returnedAt,
        replies: [],
      },
    });
  }
  for (const effect of effects.sort((a, b) => a.at - b.at)) {
    const isUnknown = random.chance(shape.unknownShare);
    const tookEffect = !isUnknown || random.chance(0.5);
    const replies: Reply[] = [];
    for (const command of tookEffect ? effect.operation.commands : []) {
      const step = stepOf(keys, command);
      replies.push(step.reply);
      keys = step.keys;
    }
    effect.operation = isUnknown
      ? { ...effect.operation, returnedAt: Number.POSITIVE_INFINITY, replies: undefined }
      : { ...effect.operation, replies };
    history.push(effect.operation);
  }
  history.sort((a, b) => a.invokedAt - b.invokedAt);
  return { history, effects };
}

function randomCommands(random: Random, n: number): readonly Command[] {
  if (random.chance(0.1)) {
    return [
      ['GET', '{t}r'],
      ['SET', '{t}r', `v${n}`],
      ['INCR', '{t}n'],
    ];
  }
  return [
    random.pick<Command>([
      ['GET', '{t}r'],
      ['GET', '{t}r'],
      ['SET', '{t}r', `v${n}`],
      ['SET', '{t}r', `v${n}`],
      ['SETNX', '{t}r', `v${n}`],
      ['GETSET', '{t}r', `v${n}`],
      ['APPEND', '{t}r', `.${n}`],
      ['DEL', '{t}r'],
      ['INCR', '{t}n'],
      ['GET', '{t}n'],
      ['HSET', '{t}h', `f${random.below(2)}`, `v${n}`],
      ['HGET', '{t}h', `f${random.below(2)}`],
      ['HDEL', '{t}h', `f${random.below(2)}`],
    ]),
  ];
}

/** Tries every order. For a handful of operations only. */
export function isLinearizableByForce(history: History): boolean {
  const told = history.filter(({ replies, commands }) => replies || !isReadOnly(commands));
  return someOrder(told, noKeys);
}

function someOrder(left: readonly Operation[], keys: Keys): boolean {
  if (left.every(({ replies }) => replies === undefined)) return true;
  return left.some((operation) => {
    const comesTooEarly = left.some(({ returnedAt }) => returnedAt < operation.invokedAt);
    if (comesTooEarly) return false;
    let after = keys;
    for (const [at, command] of operation.commands.entries()) {
      const step = stepOf(after, command);
      const wanted = operation.replies?.[at];
      if (wanted !== undefined && JSON.stringify(wanted) !== JSON.stringify(step.reply)) {
        return false;
      }
      after = step.keys;
    }
    return someOrder(
      left.filter((each) => each !== operation),
      after,
    );
  });
}

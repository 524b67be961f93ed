/** The checker against histories whose verdict is known, and against one that tries every order. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { linearize } from '../../src/linearizability/linearization.ts';
import type { History, Operation } from '../../src/linearizability/operation.ts';
import { isSameReply, noKeys, stepOf } from '../../src/linearizability/redis-model.ts';
import { Random } from '../../src/random.ts';
import { isLinearizableByForce, op, randomExecution } from './histories.ts';

const verdictOf = (...history: Operation[]): string =>
  linearize([...history].sort((a, b) => a.invokedAt - b.invokedAt)).verdict;

function expectLinearizable(...history: Operation[]): void {
  expect(verdictOf(...history)).toBe('linearizable');
}

function expectViolation(...history: Operation[]): void {
  expect(verdictOf(...history)).toBe('violation');
}

describe('a register', () => {
  it('answers with what was set last', () => {
    expectLinearizable(op(0, 1, 'SET k a', 'OK'), op(2, 3, 'GET k', 'a'));
    expectLinearizable(op(0, 1, 'GET k', null));
  });

  it('may answer either way while a write is under way', () => {
    const write = op(0, 10, 'SET k a', 'OK');
    expectLinearizable(write, op(2, 3, 'GET k', null), op(4, 5, 'GET k', 'a'));
    expectLinearizable(write, op(2, 3, 'GET k', 'a'), op(4, 5, 'GET k', 'a'));
  });

  it('does not go back to what it was: a stale read', () => {
    const write = op(0, 10, 'SET k a', 'OK');
    expectViolation(write, op(2, 3, 'GET k', 'a'), op(4, 5, 'GET k', null));
    expectViolation(op(0, 1, 'SET k a', 'OK'), op(2, 3, 'SET k b', 'OK'), op(4, 5, 'GET k', 'a'));
  });

  it('does not lose an acknowledged write', () => {
    expectViolation(op(0, 1, 'SET k a', 'OK'), op(2, 3, 'GET k', null));
    expectViolation(op(0, 1, 'SET k a', 'OK'), op(2, 3, 'SETNX k b', 1));
    expectViolation(op(0, 1, 'SET k a', 'OK'), op(2, 3, 'DEL k', 0));
  });

  it('does not answer from the future', () => {
    expectViolation(op(0, 1, 'GET k', 'a'), op(2, 3, 'SET k a', 'OK'));
  });

  it('does not answer with what nobody wrote', () => {
    expectViolation(op(0, 1, 'SET k a', 'OK'), op(2, 3, 'GET k', 'b'));
  });

  it('keeps the order of writes that did not overlap', () => {
    const writes = [op(0, 1, 'SET k a', 'OK'), op(2, 3, 'SET k b', 'OK')];
    expectLinearizable(...writes, op(4, 5, 'GET k', 'b'));
    expectViolation(...writes, op(4, 5, 'GET k', 'b'), op(6, 7, 'GET k', 'a'));
  });

  it('may put writes that overlapped in either order, and keeps to it', () => {
    const writes = [op(0, 10, 'SET k a', 'OK'), op(0, 10, 'SET k b', 'OK')];
    expectLinearizable(...writes, op(11, 12, 'GET k', 'a'));
    expectLinearizable(...writes, op(11, 12, 'GET k', 'b'));
    expectViolation(...writes, op(11, 12, 'GET k', 'b'), op(13, 14, 'GET k', 'a'));
  });

  it('answers GETSET with what stood before, APPEND with the length, DEL with the count', () => {
    expectLinearizable(
      op(0, 1, 'GETSET k a', null),
      op(2, 3, 'APPEND k bc', 3),
      op(4, 5, 'GETSET k d', 'abc'),
      op(6, 7, 'DEL k', 1),
      op(8, 9, 'DEL k', 0),
    );
    expectViolation(op(0, 1, 'SET k a', 'OK'), op(2, 3, 'GETSET k b', null));
    expectViolation(op(0, 1, 'APPEND k a', 1), op(2, 3, 'APPEND k b', 1));
  });

  it('lets one of several SETNX win', () => {
    const both = [op(0, 9, 'SETNX k a', 1), op(1, 8, 'SETNX k b', 0)];
    expectLinearizable(...both, op(10, 11, 'GET k', 'a'));
    expectViolation(...both, op(10, 11, 'GET k', 'b'));
    expectViolation(op(0, 9, 'SETNX k a', 1), op(1, 8, 'SETNX k b', 1));
  });
});

describe('a counter', () => {
  it('gives each number once', () => {
    expectLinearizable(op(0, 9, 'INCR n', 2), op(1, 8, 'INCR n', 1), op(10, 11, 'GET n', '2'));
    expectViolation(op(0, 9, 'INCR n', 1), op(1, 8, 'INCR n', 1));
  });

  it('does not count an increment twice', () => {
    expectViolation(op(0, 1, 'INCR n', 1), op(2, 3, 'INCR n', 3));
    expectViolation(op(0, 1, 'INCR n', 1), op(2, 3, 'GET n', '2'));
  });

  it('refuses what is no number, and a key of another kind', () => {
    const notAnInteger = { error: 'ERR value is not an integer or out of range' };
    expectLinearizable(op(0, 1, 'SET n a', 'OK'), op(2, 3, 'INCR n', notAnInteger));
    expectViolation(op(0, 1, 'SET n 1', 'OK'), op(2, 3, 'INCR n', notAnInteger));
    const wrongType = {
      error: 'WRONGTYPE Operation against a key holding the wrong kind of value',
    };
    expectLinearizable(op(0, 1, 'HSET n f v', 1), op(2, 3, 'INCR n', wrongType));
    expectLinearizable(op(0, 1, 'SET n a', 'OK'), op(2, 3, 'HGET n f', wrongType));
  });
});

describe('a hash', () => {
  it('answers per field', () => {
    expectLinearizable(
      op(0, 1, 'HSET h f a', 1),
      op(2, 3, 'HSET h f b', 0),
      op(4, 5, 'HGET h g', null),
      op(6, 7, 'HGET h f', 'b'),
      op(8, 9, 'HDEL h f', 1),
      op(10, 11, 'EXISTS h', 0),
    );
    expectViolation(op(0, 1, 'HSET h f a', 1), op(2, 3, 'HGET h f', null));
    expectViolation(op(0, 1, 'HSET h f a', 1), op(2, 3, 'HSET h f b', 1));
  });
});

describe('a transaction', () => {
  it('takes effect at one moment', () => {
    const transfer = op(0, 10, 'SET {t}a 1; SET {t}b 1', 'OK', 'OK');
    expectLinearizable(transfer, op(2, 3, 'GET {t}a; GET {t}b', null, null));
    expectLinearizable(transfer, op(2, 3, 'GET {t}a; GET {t}b', '1', '1'));
    expectViolation(transfer, op(2, 3, 'GET {t}a; GET {t}b', '1', null));
    expectViolation(transfer, op(2, 3, 'GET {t}a', '1'), op(4, 5, 'GET {t}b', null));
  });
});

describe('a write without an answer', () => {
  const written = op(0, 1, 'SET k a', 'OK');
  const unknown = op(2, undefined, 'SET k b');

  it('may be seen late', () => {
    expectLinearizable(
      written,
      unknown,
      op(3, 4, 'GET k', 'a'),
      op(100, 101, 'GET k', 'a'),
      op(200, 201, 'GET k', 'b'),
    );
  });

  it('may never be seen', () => {
    expectLinearizable(written, unknown, op(3, 4, 'GET k', 'a'), op(100, 101, 'GET k', 'a'));
  });

  it('is not undone once it was seen, and does not happen twice', () => {
    expectViolation(written, unknown, op(3, 4, 'GET k', 'b'), op(5, 6, 'GET k', 'a'));
    expectViolation(
      unknown,
      op(3, 4, 'GET k', 'b'),
      op(5, 6, 'SET k c', 'OK'),
      op(7, 8, 'GET k', 'b'),
    );
    expectViolation(op(0, undefined, 'INCR n'), op(3, 4, 'GET n', '2'));
  });

  it('is not seen before it was sent', () => {
    expectViolation(op(0, 1, 'GET k', 'b'), unknown);
  });

  it('does not excuse what it cannot explain', () => {
    expectViolation(written, unknown, op(3, 4, 'GET k', null));
  });

  it('is left out where it only reads', () => {
    const reads = Array.from({ length: 40 }, (_, n) => op(n, undefined, 'GET k'));
    expectLinearizable(...reads, op(100, 101, 'GET k', null));
  });

  it('costs little where many of them never took effect, as in a history of a real cluster', () => {
    const file = new URL('fixtures/unanswered-writes.jsonl', import.meta.url);
    const history = readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line): Operation => {
        const { returnedAt, replies, ...sent } = JSON.parse(line);
        const answer = { returnedAt: returnedAt ?? Number.POSITIVE_INFINITY, replies };
        return { ...sent, ...answer };
      })
      .toSorted((a, b) => a.invokedAt - b.invokedAt);
    expect(history.filter(({ replies }) => replies === undefined)).toHaveLength(16);
    const limits = { statesMax: 20_000, timeMsMax: 20_000 };
    expect(linearize(history, limits).verdict).toBe('linearizable');
  });

  it('may come many times', () => {
    const writes = Array.from({ length: 14 }, (_, n) => op(n, undefined, `SET k ${n}`));
    expectLinearizable(...writes, op(100, 101, 'GET k', '3'), op(102, 103, 'GET k', '7'));
    expectViolation(...writes, op(100, 101, 'GET k', '3'), op(102, 103, 'GET k', null));
  });
});

describe('the verdict', () => {
  it('names the first answer that nothing explains, and what does explain the others', () => {
    const history = [
      op(0, 1, 'SET k a', 'OK'),
      op(2, 3, 'GET k', 'a'),
      op(4, 5, 'GET k', null),
    ] as const;
    const verdict = linearize(history);
    expect(verdict).toEqual({
      verdict: 'violation',
      longest: [history[0], history[1]],
      blocked: history[2],
    });
  });

  it('is undecided, and no success, where the search ends early', () => {
    const writes = Array.from({ length: 18 }, (_, n) => op(n, undefined, `APPEND k ${n}.`));
    const history = [...writes, op(100, 101, 'GET k', 'x')];
    expect(linearize(history, { statesMax: 500, timeMsMax: 10_000 }).verdict).toBe('undecided');
    const inTime = linearize(history, { statesMax: 10_000_000, timeMsMax: 20 });
    expect(inTime.verdict).toBe('undecided');
  });
});

/** Whether an order keeps to the history and explains its replies. */
function explains(order: readonly Operation[], history: History): boolean {
  let keys = noKeys;
  for (const [at, operation] of order.entries()) {
    if (order.slice(at).some(({ returnedAt }) => returnedAt < operation.invokedAt)) return false;
    for (const [n, command] of operation.commands.entries()) {
      const step = stepOf(keys, command);
      if (operation.replies && !isSameReply(operation.replies[n], step.reply)) return false;
      keys = step.keys;
    }
  }
  return history.every((each) => each.replies === undefined || order.includes(each));
}

describe('random histories', () => {
  it('are accepted as they were executed, with an order that explains them', () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = new Random(seed, 'execution');
      const shape = { operations: 60, clients: 6, unknownShare: seed % 3 === 0 ? 0.08 : 0 };
      const { history } = randomExecution(random, shape);
      const verdict = linearize(history);
      if (verdict.verdict !== 'linearizable') throw new Error(`seed ${seed}: ${verdict.verdict}`);
      expect(explains(verdict.order, history)).toBe(true);
    }
  });

  it('are decided as by trying every order', () => {
    const verdicts = { linearizable: 0, violation: 0, undecided: 0 };
    for (let seed = 1; seed <= 1500; seed++) {
      const random = new Random(seed, 'small');
      const { history } = randomExecution(random, {
        operations: 6,
        clients: 4,
        unknownShare: 0.15,
      });
      const changed = seed % 4 === 0 ? history : withSwappedReplies(history, random);
      const { verdict } = linearize(changed);
      verdicts[verdict]++;
      expect(verdict === 'linearizable', `seed ${seed}`).toBe(isLinearizableByForce(changed));
    }
    expect(verdicts.undecided).toBe(0);
    expect(verdicts.linearizable).toBeGreaterThan(300);
    expect(verdicts.violation).toBeGreaterThan(300);
  });
});

/** Exchanges the replies of two operations of one kind: sometimes still linearizable, mostly not. */
function withSwappedReplies(history: History, random: Random): History {
  const answered = history.filter(({ replies }) => replies !== undefined);
  if (answered.length < 2) return history;
  const a = random.pick(answered);
  const sameKind = answered.filter(
    (each) => each !== a && each.commands.length === a.commands.length,
  );
  if (sameKind.length === 0) return history;
  const b = random.pick(sameKind);
  return history.map((each) => {
    if (each === a) return { ...a, replies: b.replies };
    return each === b ? { ...b, replies: a.replies } : each;
  });
}

import { describe, expect, it } from 'vitest';
import { Teardown } from '../src/teardown.ts';

describe('a teardown', () => {
  it('closes in reverse order, one after the other', async () => {
    const teardown = new Teardown();
    const log: string[] = [];
    for (const name of ['first', 'second', 'third']) {
      teardown.add(async () => {
        log.push(`${name} begins`);
        await new Promise((resolve) => setImmediate(resolve));
        log.push(`${name} ends`);
      });
    }
    await teardown.run();
    const expected = ['third', 'second', 'first'].flatMap((name) => [
      `${name} begins`,
      `${name} ends`,
    ]);
    expect(log).toEqual(expected);
  });

  it('goes on after a failure, and tells all of them', async () => {
    const teardown = new Teardown();
    const closed: string[] = [];
    const failure = (name: string): Error => new Error(`${name} failed`);
    teardown.add(() => void closed.push('first'));
    teardown.add(() => Promise.reject(failure('second')));
    teardown.add(() => {
      throw failure('third');
    });
    teardown.add(() => void closed.push('fourth'));
    await expect(teardown.run()).rejects.toMatchObject({
      name: 'AggregateError',
      errors: [failure('third'), failure('second')],
    });
    expect(closed).toEqual(['fourth', 'first']);
  });

  it('closes everything once, however often it runs', async () => {
    const teardown = new Teardown();
    let closed = 0;
    teardown.add(() => void closed++);
    await teardown.run();
    await teardown.run();
    expect(closed).toBe(1);
  });

  it('closes what is opened while it runs', async () => {
    const teardown = new Teardown();
    let closed = 0;
    teardown.add(() => teardown.add(() => void closed++));
    await teardown.run();
    expect(closed).toBe(1);
  });

  it('closes at once what is opened after it has run', async () => {
    const teardown = new Teardown();
    await teardown.run();
    let closed = 0;
    teardown.add(() => void closed++);
    expect(closed).toBe(1);
  });
});

import { describe, expect, it } from 'vitest';
import { closeEverything, closing } from '../src/teardown.ts';

describe('what a benchmark has open', () => {
  it('is closed at its end, what was opened last first, and once', async () => {
    const closed: string[] = [];
    const result = await closing(async (teardown) => {
      teardown.add(() => closed.push('first'));
      teardown.add(async () => closed.push('second'));
      await closing(async (inner) => inner.add(() => closed.push('inner')));
      expect(closed).toEqual(['inner']);
      return 'done';
    });
    expect(result).toBe('done');
    expect(closed).toEqual(['inner', 'second', 'first']);
    await closeEverything();
    expect(closed).toHaveLength(3);
  });

  it('is closed where the benchmark fails, whatever fails besides', async () => {
    const closed: string[] = [];
    const failing = closing(async (teardown) => {
      teardown.add(() => closed.push('first'));
      teardown.add(() => Promise.reject(new Error('it does not close')));
      throw new Error('the benchmark failed');
    });
    await expect(failing).rejects.toThrow('the benchmark failed');
    expect(closed).toEqual(['first']);
  });

  it('is closed where the process is told to end in the middle', async () => {
    const closed: string[] = [];
    let goOn = (): void => undefined;
    const running = closing(async (teardown) => {
      teardown.add(() => closed.push('server'));
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
    });
    await closeEverything();
    expect(closed).toEqual(['server']);
    goOn();
    await running;
  });
});

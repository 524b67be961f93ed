import { expect, it } from 'vitest';
import { Authentication } from '../src/authentication.ts';

/** Answers in the order that the test wants. */
function questions() {
  const asked: ((token: string) => void)[] = [];
  const authentication = new Authentication(() => new Promise((resolve) => asked.push(resolve)));
  return { asked, authentication };
}

it('asks once for all who need a token, and again once it is refused', async () => {
  const { asked, authentication } = questions();
  const both = [authentication.token(0), authentication.token(1)];
  await Promise.resolve();
  asked[0]?.('one');
  expect(await Promise.all(both)).toEqual(['one', 'one']);
  authentication.forget('one');
  const next = authentication.token(0);
  await Promise.resolve();
  asked[1]?.('two');
  expect([await next, asked.length]).toEqual(['two', 2]);
});

it('forgets a token that is refused, whatever was refused before it', async () => {
  const { asked, authentication } = questions();
  const first = authentication.token(0);
  await Promise.resolve();
  asked[0]?.('one');
  await first;
  authentication.forget('one');
  const second = authentication.token(0);
  // Told late, by a call that was sent with the first token.
  authentication.forget('one');
  const third = authentication.token(1);
  await Promise.resolve();
  asked[1]?.('two');
  expect(await Promise.all([second, third])).toEqual(['two', 'two']);
  authentication.forget('two');
  void authentication.token(0);
  await Promise.resolve();
  expect(asked.length).toBe(3);
});

import { describe, expect, it } from 'vitest';
import { inlineArguments } from '../src/inline-arguments.ts';

describe('inline requests', () => {
  it.each([
    ['', []],
    ['   \t ', []],
    ['PING', ['PING']],
    ['  SET  a\tb ', ['SET', 'a', 'b']],
    ['SET a "hello world"', ['SET', 'a', 'hello world']],
    ['"\\x41\\x00\\xff\\n\\r\\t\\b\\a\\\\\\"\\q\\xZZ"', ['A\x00\xff\n\r\t\b\x07\\"qxZZ']],
    ["'it\\'s \\n'", ["it's \\n"]],
    ['""', ['']],
    ["a'b c'", ['ab c']],
    ['a"b" c', ['ab', 'c']],
    ['a\x0bb', ['a\x0bb']],
    ['\x0b\x0ca', ['a']],
    ['"a"\x0bb', ['a', 'b']],
  ])('splits %j', (line, expected) => {
    expect(inlineArguments(line)).toEqual(expected);
  });

  it.each(['"', "'", '"a', "a'b", '"a"b', "'a''b'", '"a\\', '"a\\"', "'a\\'"])(
    'refuses the unbalanced quotes of %j',
    (line) => {
      expect(inlineArguments(line)).toBeUndefined();
    },
  );
});

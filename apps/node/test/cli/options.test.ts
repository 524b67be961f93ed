import { writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  byteSize,
  configurationPath,
  oneOf,
  secretFromFile,
  wholeNumber,
} from '../../src/cli/options.ts';
import { temporaryDirectory } from '../temporary-directory.ts';

const REFUSAL = expect.objectContaining({
  code: 'RAFTSEAL_NODE_OPTION',
  message: expect.stringMatching(/^--name: /),
});

describe('a whole number', () => {
  const parse = wholeNumber('name', { min: 1, max: 1024 });

  it('is taken within its bounds', () => {
    expect(['1', '7', '1024', '007'].map(parse)).toEqual([1, 7, 1024, 7]);
    const large = wholeNumber('name', { min: 1, max: 2 ** 48 });
    expect(large(`${2 ** 48}`)).toBe(2 ** 48);
  });

  const others = ['', '0', '1025', '-1', '1.5', '1e3', '0x10', ' 1', '1 ', 'NaN', '9'.repeat(30)];

  it.each(others)('is refused as %o', (text) => {
    expect(() => parse(text)).toThrow(REFUSAL);
  });
});

describe('a size in bytes', () => {
  const parse = byteSize('name');

  it('has a unit, a power of 1024, or none', () => {
    const texts = ['0', '512', '1k', '1K', '2m', '2MB', '3g', '3gb', '12b'];
    expect(texts.map(parse)).toEqual([
      0,
      512,
      1024,
      1024,
      2 * 2 ** 20,
      2 * 2 ** 20,
      3 * 2 ** 30,
      3 * 2 ** 30,
      12,
    ]);
  });

  it.each(['', 'k', '1.5m', '-1', '1t', '1 m', 'm1', '1kk', '9999999999999', '999999999999g'])(
    'is refused as %o',
    (text) => expect(() => parse(text)).toThrow(REFUSAL),
  );
});

describe('one of several words', () => {
  it('is taken as it is written, and nothing else is', () => {
    const parse = oneOf('name', ['on', 'off']);
    expect(['on', 'off'].map(parse)).toEqual(['on', 'off']);
    for (const text of ['', 'ON', 'on ', 'toString']) expect(() => parse(text)).toThrow(REFUSAL);
  });
});

describe('a secret in a file', () => {
  function fileWith(content: string, mode = 0o600): string {
    const path = join(temporaryDirectory(), 'secret');
    writeFileSync(path, content, { mode });
    return path;
  }

  it('is everything but the end of the line', () => {
    for (const content of ['pass word ', 'pass word \n', 'pass word \r\n']) {
      expect(secretFromFile('name', fileWith(content))).toBe('pass word ');
    }
    expect(secretFromFile('name', fileWith('two\nlines\n'))).toBe('two\nlines');
    expect(secretFromFile('name', fileWith('pässword\n'))).toBe('pässword');
  });

  it('is refused where others can read it', () => {
    expect(() => secretFromFile('name', fileWith('secret', 0o640))).toThrow(REFUSAL);
  });

  it('is refused where it is empty or cannot be read', () => {
    for (const path of [fileWith(''), fileWith('\n'), '/none/such', temporaryDirectory()]) {
      expect(() => secretFromFile('name', path)).toThrow(REFUSAL);
    }
  });
});

describe('the folder of the user', () => {
  afterEach(() => void vi.unstubAllEnvs());

  it('is where XDG says, or the default of XDG', () => {
    vi.stubEnv('XDG_CONFIG_HOME', '/some/config');
    expect(configurationPath('trial.kek')).toBe('/some/config/raftseal/trial.kek');
    for (const unset of [undefined, '']) {
      vi.stubEnv('XDG_CONFIG_HOME', unset);
      const expected = join(homedir(), '.config', 'raftseal', 'trial.kek');
      expect(configurationPath('trial.kek')).toBe(expected);
    }
  });
});

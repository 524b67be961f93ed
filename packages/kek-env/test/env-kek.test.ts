import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { kekFromEnv } from '../src/index.ts';

const NAME = 'RAFTSEAL_TEST_KEK';
const binding = { clusterId: Buffer.alloc(16, 1), dekId: 9, purpose: 'index' } as const;

afterEach(() => {
  delete process.env[NAME];
});

const refusal = (code: string) => expect.objectContaining({ code });

/** Bytes whose base64 has both characters that the alphabets differ in. */
const slashAndPlus = Buffer.from(`fbf0${'fbff'.repeat(15)}`, 'hex');

describe('kekFromEnv', () => {
  it.each([
    ['base64', slashAndPlus.toString('base64')],
    ['base64 without padding', slashAndPlus.toString('base64').replace('=', '')],
    ['base64url', slashAndPlus.toString('base64url')],
    ['base64url with padding', `${slashAndPlus.toString('base64url')}=`],
    ['hex', slashAndPlus.toString('hex')],
    ['hex in capitals', slashAndPlus.toString('hex').toUpperCase()],
  ])('takes 32 bytes in %s', async (_name, text) => {
    const reference = kekFromEnv({ name: NAME, env: { [NAME]: slashAndPlus.toString('hex') } });
    const dek = randomBytes(32);
    const wrapped = await reference.wrapKey(dek, binding);
    const kek = kekFromEnv({ name: NAME, env: { [NAME]: text } });
    expect(dek.equals(await kek.unwrapKey(wrapped, binding))).toBe(true);
    expect(kek.kekUri).toBe(`env:${NAME}`);
  });

  it('KEK-09: unsets the variable of the process, for its children too', () => {
    process.env[NAME] = randomBytes(32).toString('base64');
    kekFromEnv({ name: NAME });
    expect(process.env[NAME]).toBeUndefined();
    expect(NAME in process.env).toBe(false);
    const childSees = execFileSync('node', ['-p', `process.env.${NAME}`])
      .toString()
      .trim();
    expect(childSees).toBe('undefined');
  });

  it('unsets the variable after a refusal as well', () => {
    const env = { [NAME]: 'not a key' };
    expect(() => kekFromEnv({ name: NAME, env })).toThrow(refusal('RAFTSEAL_KEK_ENV_FORMAT'));
    expect(env).toEqual({});
  });

  it('refuses a variable that is missing or empty', () => {
    for (const env of [{}, { [NAME]: '' }, { [NAME]: undefined }]) {
      expect(() => kekFromEnv({ name: NAME, env })).toThrow(refusal('RAFTSEAL_KEK_ENV_MISSING'));
    }
    expect(() => kekFromEnv({ name: NAME })).toThrow(refusal('RAFTSEAL_KEK_ENV_MISSING'));
  });

  it('does not take a second time what it has taken', () => {
    const env = { [NAME]: randomBytes(32).toString('hex') };
    kekFromEnv({ name: NAME, env });
    expect(() => kekFromEnv({ name: NAME, env })).toThrow(refusal('RAFTSEAL_KEK_ENV_MISSING'));
  });

  it.each([
    ['31 bytes of base64', randomBytes(31).toString('base64')],
    ['33 bytes of base64', randomBytes(33).toString('base64')],
    ['48 bytes of base64', randomBytes(48).toString('base64url').replace(/^./, '-')],
    ['63 hex digits', randomBytes(32).toString('hex').slice(1)],
    ['65 hex digits', `0${randomBytes(32).toString('hex')}`],
    ['text of another kind', '!'.repeat(44)],
    ['both base64 alphabets', `+-${randomBytes(32).toString('hex').slice(0, 41)}`],
    ['two signs of padding', `${Buffer.alloc(32, 1).toString('base64')}=`],
    ['a last character with bits to spare', `${'A'.repeat(42)}B=`],
    ['a line break inside', `${'A'.repeat(20)}\n${'A'.repeat(22)}=`],
  ])('refuses %s', (_name, text) => {
    const env = { [NAME]: text };
    expect(() => kekFromEnv({ name: NAME, env })).toThrow(refusal('RAFTSEAL_KEK_ENV_FORMAT'));
  });

  it.each([
    [`${Buffer.alloc(32, 1).toString('base64')}\n`, 'white space'],
    [`"${Buffer.alloc(32, 1).toString('base64')}"`, 'quotation marks'],
    ['abc', '3 characters'],
  ])('says what is wrong with %j', (text, expected) => {
    expect(() => kekFromEnv({ name: NAME, env: { [NAME]: text } })).toThrow(expected);
  });

  it('invariant 10: quotes no part of the text in a refusal', () => {
    const text = `${randomBytes(32).toString('hex')}0`;
    let message = '';
    try {
      kekFromEnv({ name: NAME, env: { [NAME]: text } });
    } catch (error) {
      message = String(error);
    }
    expect(message).toContain('65 characters');
    for (let at = 0; at + 8 <= text.length; at++) {
      expect(message).not.toContain(text.slice(at, at + 8));
    }
  });

  it('refuses a KEK of zero bytes', () => {
    const env = { [NAME]: '00'.repeat(32) };
    expect(() => kekFromEnv({ name: NAME, env })).toThrow(refusal('RAFTSEAL_KEK_ZERO'));
  });
});

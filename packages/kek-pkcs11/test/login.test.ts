import { describe, expect, it } from 'vitest';
import { refusalBeforeLogin } from '../src/token/login.ts';

/** CK_TOKEN_INFO flags, as pkcs11t.h has them. */
const LOGIN_REQUIRED = 0x4;
const COUNT_LOW = 0x10000;
const FINAL_TRY = 0x20000;
const LOCKED = 0x40000;

describe('refusalBeforeLogin', () => {
  it('tries a PIN after one that was wrong', () => {
    expect(refusalBeforeLogin(LOGIN_REQUIRED | COUNT_LOW, true)).toBeUndefined();
  });

  it.each([FINAL_TRY, LOCKED, COUNT_LOW | FINAL_TRY, FINAL_TRY | LOCKED])(
    'tries no PIN that would lock the token, or is locked: flags 0x%x',
    (flags) => {
      const error = refusalBeforeLogin(LOGIN_REQUIRED | flags, true);
      expect(error?.code).toBe('RAFTSEAL_KEK_PKCS11_PIN_LOCKED');
    },
  );

  it('wants a PIN only where the token does', () => {
    expect(refusalBeforeLogin(LOGIN_REQUIRED, false)?.code).toBe('RAFTSEAL_KEK_PKCS11_PIN_MISSING');
    expect(refusalBeforeLogin(LOCKED, false)).toBeUndefined();
  });
});

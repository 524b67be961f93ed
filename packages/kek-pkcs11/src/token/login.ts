/**
 * Logs a session in. A wrong PIN is never tried twice, and not at all where one more would lock the
 * token: a service that is restarted over and over must not lock its operator out.
 */
import { RaftsealError } from '@raftseal/interface';
import { type Pkcs11Module, refusal } from './module.ts';
import { CKF, CKR, CKU_USER, nameOf } from './standard.ts';

const pinRefused: ReadonlySet<number> = new Set([
  CKR.CKR_PIN_INCORRECT,
  CKR.CKR_PIN_INVALID,
  CKR.CKR_PIN_LEN_RANGE,
  CKR.CKR_PIN_EXPIRED,
  CKR.CKR_USER_PIN_NOT_INITIALIZED,
]);

/**
 * @param flags of CK_TOKEN_INFO.
 * @throws RAFTSEAL_KEK_PKCS11_PIN, RAFTSEAL_KEK_PKCS11_PIN_LOCKED,
 *   RAFTSEAL_KEK_PKCS11_PIN_MISSING
 */
export async function logIn(
  module: Pkcs11Module,
  { session, flags, pin }: { session: number; flags: number; pin: Uint8Array | undefined },
): Promise<void> {
  const refused = refusalBeforeLogin(flags, pin !== undefined);
  if (refused !== undefined) throw refused;
  if (pin === undefined) return;
  const { address } = module.memory.put(pin);
  const returned = await module.call('C_Login', session, CKU_USER, address, pin.length);
  module.memory.wipe();
  if (returned === CKR.CKR_OK || returned === CKR.CKR_USER_ALREADY_LOGGED_IN) return;
  if (returned === CKR.CKR_PIN_LOCKED) throw locked('a PIN that is locked');
  if (!pinRefused.has(returned)) throw refusal('C_Login', returned);
  throw new RaftsealError(
    'RAFTSEAL_KEK_PKCS11_PIN',
    `expected the token to take the PIN; found ${nameOf(returned)}. It is not tried again, because ` +
      'tokens lock after a few wrong PINs: correct the PIN file, then start again.',
  );
}

/** What the token's flags say before a PIN is tried. */
export function refusalBeforeLogin(flags: number, hasPin: boolean): RaftsealError | undefined {
  if (!hasPin) {
    if ((flags & CKF.loginRequired) === 0) return undefined;
    return new RaftsealError(
      'RAFTSEAL_KEK_PKCS11_PIN_MISSING',
      'expected the PIN of a token that wants one; found no pin-source in the URI. Add ' +
        'pin-source=file:/<file of mode 0600> to it.',
    );
  }
  if ((flags & CKF.userPinLocked) !== 0) return locked('a PIN that is locked');
  if ((flags & CKF.userPinFinalTry) !== 0) return locked('a PIN that one more wrong try locks');
  return undefined;
}

function locked(found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_PKCS11_PIN_LOCKED',
    `expected a token that takes its PIN; found ${found}. Log in once by hand with the right PIN, ` +
      "or have the token's security officer set a new one; then start again.",
  );
}

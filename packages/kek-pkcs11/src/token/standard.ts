/**
 * Numbers of PKCS#11 (OASIS PKCS #11 Cryptographic Token Interface Base Specification 2.40,
 * appendix B, and the header pkcs11t.h that goes with it).
 */

/** What C_Login is called for. */
export const CKU_USER = 1;

export const CKF = {
  /** Of a token. */
  loginRequired: 0x4,
  tokenInitialized: 0x400,
  userPinFinalTry: 0x2_0000,
  userPinLocked: 0x4_0000,
  /** Of a session. */
  readWriteSession: 0x2,
  serialSession: 0x4,
  /** Of a mechanism. */
  encrypt: 0x100,
  decrypt: 0x200,
  /** Of C_Initialize: the module may use the system's threads and locks. */
  osLockingOk: 0x2,
} as const;

export const CKM = { aesKeyGen: 0x1080, aesGcm: 0x1087 } as const;

export const CKO_SECRET_KEY = 4;
export const CKK_AES = 0x1f;

/** Class of an object to what a refusal calls it. */
export const classNames: readonly string[] = [
  'a data object',
  'a certificate',
  'a public key',
  'a private key',
  'a secret key',
];

export const CKA = {
  class: 0x0,
  token: 0x1,
  private: 0x2,
  label: 0x3,
  value: 0x11,
  keyType: 0x100,
  id: 0x102,
  sensitive: 0x103,
  encrypt: 0x104,
  decrypt: 0x105,
  wrap: 0x106,
  unwrap: 0x107,
  valueLength: 0x161,
  extractable: 0x162,
} as const;

/** Return values that this package tells apart, and their names in the standard. */
export const CKR = {
  CKR_OK: 0x0,
  CKR_HOST_MEMORY: 0x2,
  CKR_SLOT_ID_INVALID: 0x3,
  CKR_GENERAL_ERROR: 0x5,
  CKR_FUNCTION_FAILED: 0x6,
  CKR_ATTRIBUTE_SENSITIVE: 0x11,
  CKR_ATTRIBUTE_TYPE_INVALID: 0x12,
  CKR_DEVICE_ERROR: 0x30,
  CKR_DEVICE_MEMORY: 0x31,
  CKR_DEVICE_REMOVED: 0x32,
  CKR_FUNCTION_CANCELED: 0x50,
  CKR_KEY_HANDLE_INVALID: 0x60,
  CKR_MECHANISM_INVALID: 0x70,
  CKR_MECHANISM_PARAM_INVALID: 0x71,
  CKR_OBJECT_HANDLE_INVALID: 0x82,
  CKR_OPERATION_ACTIVE: 0x90,
  CKR_OPERATION_NOT_INITIALIZED: 0x91,
  CKR_PIN_INCORRECT: 0xa0,
  CKR_PIN_INVALID: 0xa1,
  CKR_PIN_LEN_RANGE: 0xa2,
  CKR_PIN_EXPIRED: 0xa3,
  CKR_PIN_LOCKED: 0xa4,
  CKR_SESSION_CLOSED: 0xb0,
  CKR_SESSION_COUNT: 0xb1,
  CKR_SESSION_HANDLE_INVALID: 0xb3,
  CKR_TOKEN_NOT_PRESENT: 0xe0,
  CKR_TOKEN_NOT_RECOGNIZED: 0xe1,
  CKR_USER_ALREADY_LOGGED_IN: 0x100,
  CKR_USER_NOT_LOGGED_IN: 0x101,
  CKR_USER_PIN_NOT_INITIALIZED: 0x102,
  CKR_CRYPTOKI_NOT_INITIALIZED: 0x190,
} as const;

const names: ReadonlyMap<number, string> = new Map(
  Object.entries(CKR).map(([name, value]) => [value, name]),
);

/** The standard's name of a return value, or its number. */
export function nameOf(returned: number): string {
  return names.get(returned) ?? `0x${returned.toString(16)}`;
}

/**
 * What a module answers when the device, the session or an object went away: a token that is opened
 * anew may be well again.
 */
const passing: ReadonlySet<number> = new Set([
  CKR.CKR_HOST_MEMORY,
  CKR.CKR_SLOT_ID_INVALID,
  CKR.CKR_GENERAL_ERROR,
  CKR.CKR_FUNCTION_FAILED,
  CKR.CKR_DEVICE_ERROR,
  CKR.CKR_DEVICE_MEMORY,
  CKR.CKR_DEVICE_REMOVED,
  CKR.CKR_FUNCTION_CANCELED,
  CKR.CKR_KEY_HANDLE_INVALID,
  CKR.CKR_OBJECT_HANDLE_INVALID,
  CKR.CKR_OPERATION_ACTIVE,
  CKR.CKR_OPERATION_NOT_INITIALIZED,
  CKR.CKR_SESSION_CLOSED,
  CKR.CKR_SESSION_COUNT,
  CKR.CKR_SESSION_HANDLE_INVALID,
  CKR.CKR_TOKEN_NOT_PRESENT,
  CKR.CKR_TOKEN_NOT_RECOGNIZED,
  CKR.CKR_USER_NOT_LOGGED_IN,
  CKR.CKR_CRYPTOKI_NOT_INITIALIZED,
]);

export function isPassing(returned: number): boolean {
  return passing.has(returned);
}

/** Whether a module answers so for anything, a wrap that does not authenticate included. */
export function isVague(returned: number): boolean {
  return returned === CKR.CKR_GENERAL_ERROR || returned === CKR.CKR_FUNCTION_FAILED;
}

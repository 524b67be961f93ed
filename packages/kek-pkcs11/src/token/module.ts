/**
 * A PKCS#11 module: a shared library that exports C_GetFunctionList and no other name that one can
 * rely on. Calls run on a thread beside the event loop, one at a time.
 */
import { promisify } from 'node:util';
import { RaftsealError } from '@raftseal/interface';
import koffi, { type LibraryHandle } from 'koffi';
import { type Field, NativeMemory, NULL, POINTER_BYTES } from './native-memory.ts';
import { CKF, CKR, isPassing, nameOf } from './standard.ts';

export type FunctionName =
  | 'C_Initialize'
  | 'C_Finalize'
  | 'C_GetSlotList'
  | 'C_GetTokenInfo'
  | 'C_GetMechanismInfo'
  | 'C_OpenSession'
  | 'C_Login'
  | 'C_GetAttributeValue'
  | 'C_FindObjectsInit'
  | 'C_FindObjects'
  | 'C_FindObjectsFinal'
  | 'C_EncryptInit'
  | 'C_Encrypt'
  | 'C_DecryptInit'
  | 'C_Decrypt'
  | 'C_GenerateKey';

/**
 * Name to index in CK_FUNCTION_LIST and parameters: p is a pointer, u a CK_ULONG, b a CK_BBOOL.
 * The order of the list is that of the standard and never changes.
 */
const functions: Readonly<Record<FunctionName, readonly [number, string]>> = {
  C_Initialize: [0, 'p'],
  C_Finalize: [1, 'p'],
  C_GetSlotList: [4, 'bpp'],
  C_GetTokenInfo: [6, 'up'],
  C_GetMechanismInfo: [8, 'uup'],
  C_OpenSession: [12, 'uuppp'],
  C_Login: [18, 'uupu'],
  C_GetAttributeValue: [24, 'uupu'],
  C_FindObjectsInit: [26, 'upu'],
  C_FindObjects: [27, 'upup'],
  C_FindObjectsFinal: [28, 'u'],
  C_EncryptInit: [29, 'upu'],
  C_Encrypt: [30, 'upupp'],
  C_DecryptInit: [33, 'upu'],
  C_Decrypt: [34, 'upupp'],
  C_GenerateKey: [58, 'uppup'],
};

type NativeFunction = (...args: readonly Field[]) => Promise<number>;

const parameterTypes: Readonly<Record<string, string>> = {
  p: 'uintptr_t',
  u: 'ulong',
  b: 'uchar',
};

/** CK_FUNCTION_LIST begins with a version of two bytes; only Windows packs what follows. */
const LIST_START_BYTES = process.platform === 'win32' ? 2 : POINTER_BYTES;

export class Pkcs11Module {
  readonly memory: NativeMemory = new NativeMemory();
  /** Holds the library: koffi unloads one that nothing refers to. */
  readonly #library: LibraryHandle;
  readonly #functions: ReadonlyMap<string, NativeFunction>;

  /** @throws RAFTSEAL_KEK_PKCS11_MODULE */
  constructor(path: string) {
    try {
      this.#library = koffi.load(path);
      this.#functions = this.#functionList();
    } catch (error) {
      throw moduleRefused(path, 'a file that does not load as one', error);
    } finally {
      this.memory.wipe();
    }
  }

  /** Calls C_Initialize. @throws RAFTSEAL_KEK_PKCS11_MODULE */
  async initialize(path: string): Promise<void> {
    const { address } = this.memory.struct(NULL, NULL, NULL, NULL, CKF.osLockingOk, NULL);
    const returned = await this.call('C_Initialize', address);
    this.memory.wipe();
    if (returned === CKR.CKR_OK) return;
    throw moduleRefused(path, `that C_Initialize of it returns ${nameOf(returned)}`);
  }

  /** Calls a function; resolves to what it returned. */
  async call(name: FunctionName, ...args: readonly Field[]): Promise<number> {
    const native = this.#functions.get(name);
    if (native === undefined) throw new Error(`the module has no ${name}`);
    return Number(await native(...args));
  }

  /** As {@link call}, for a function that is to return CKR_OK. @throws what {@link refusal} makes */
  async run(name: FunctionName, ...args: readonly Field[]): Promise<void> {
    const returned = await this.call(name, ...args);
    if (returned !== CKR.CKR_OK) throw refusal(name, returned);
  }

  #functionList(): Map<string, NativeFunction> {
    const getList = this.#library.func('C_GetFunctionList', 'ulong', ['uintptr_t']);
    const pointer = this.memory.room(POINTER_BYTES);
    const returned = Number(getList(pointer.address));
    const list = this.memory.readPointer(pointer);
    if (returned !== CKR.CKR_OK || list === NULL) throw new Error('no function list');
    return new Map(
      Object.entries(functions).map(([name, [index, parameters]]) => {
        const at = LIST_START_BYTES + index * POINTER_BYTES;
        const address = BigInt(koffi.decode(list, at, 'uintptr_t'));
        if (address === NULL) throw new Error(`no ${name}`);
        const types = Array.from(parameters, (parameter) => parameterTypes[parameter] ?? '');
        const native = koffi.decode(address, koffi.proto('ulong', types));
        return [name, promisify(native.async)];
      }),
    );
  }
}

/** What a call that failed is to the caller: for now, or for good. */
export function refusal(name: FunctionName, returned: number): RaftsealError {
  const found = `expected ${name} of the PKCS#11 module to succeed; found ${nameOf(returned)}.`;
  if (isPassing(returned)) {
    return new RaftsealError(
      'RAFTSEAL_KEK_UNAVAILABLE',
      `${found} Check that the token is there and well: calls work again once it is.`,
    );
  }
  return new RaftsealError(
    'RAFTSEAL_KEK_PKCS11_REFUSED',
    `${found} Check the log of the token, and its policy for the user and the key.`,
  );
}

function moduleRefused(path: string, found: string, cause?: unknown): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_KEK_PKCS11_MODULE',
    `expected the PKCS#11 module ${path} of the token's maker; found ${found}. Check module-path, ` +
      'and that the module is installed, set up and made for this machine.',
    cause === undefined ? {} : { cause },
  );
}
